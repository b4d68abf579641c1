"""Experiments on the fake engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import counting
from samples import topics_config
from semievol.config import dump
from semievol.experiments.catalogue import COMPARE, EXPERIMENTS, Experiment
from semievol.experiments.estimate import estimate
from semievol.experiments.experiment import run_experiment
from semievol.experiments.options import Options
from semievol.experiments.progress import GridReporter
from semievol.experiments.results import Findings
from semievol.forecast.plan import Estimate

Runner = Callable[..., Findings]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A config of topics whose instruction has no words that could vote."""
    return write_config(tmp_path)


def write_config(folder: Path, name: str = "topics", **sections: Any) -> Path:
    config = topics_config(folder, **{"task": {"instruction": "?"}, "collaborate": {"n": 3}, **sections})
    path = folder / f"{name}.yaml"
    path.write_text(dump(config), encoding="utf-8")
    return path


@pytest.fixture
def experiment(tmp_path: Path) -> Runner:
    """Runs an experiment on topics; sections change the config."""
    counting.forget()

    def run(name: str, reporter: GridReporter | None = None, sections: dict[str, Any] | None = None, **options: Any):
        chosen, given = _called(tmp_path, name, sections, options)
        return run_experiment(chosen, given, reporter or GridReporter(), tmp_path / "out" / name)

    return run


@pytest.fixture
def estimated(tmp_path: Path) -> Callable[..., Estimate]:
    """Estimates what the same call of `experiment` would do."""

    def tell(name: str, sections: dict[str, Any] | None = None, **options: Any) -> Estimate:
        return estimate(*_called(tmp_path, name, sections, options))

    return tell


def _called(
    folder: Path, name: str, sections: dict[str, Any] | None, options: dict[str, Any]
) -> tuple[Experiment, Options]:
    path = write_config(folder, **(sections or {}))
    given = Options(**{"configs": (str(path),), "out": folder / "out", **options})
    return COMPARE if name == "compare" else EXPERIMENTS[name], given
