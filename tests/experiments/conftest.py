"""Experiments on the fake engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import counting
from samples import topics_config
from semievol.config import dump
from semievol.experiments.catalogue import COMPARE, EXPERIMENTS
from semievol.experiments.experiment import run_experiment
from semievol.experiments.options import Options
from semievol.experiments.progress import GridReporter
from semievol.experiments.results import Found

Runner = Callable[..., Found]


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
        path = write_config(tmp_path, **(sections or {}))
        given = Options(**{"configs": (str(path),), "out": tmp_path / "out", **options})
        chosen = COMPARE if name == "compare" else EXPERIMENTS[name]
        return run_experiment(chosen, given, reporter or GridReporter(), tmp_path / "out" / name)

    return run
