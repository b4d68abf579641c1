"""What trackers are told of a run."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

import semievol
from samples import topics_config
from semievol.pipeline import run
from semievol.report.trackers import figures, track
from semievol.run_folder.folder import RunFolder

tracking = pytest.importorskip("accelerate.tracking")


class Told(tracking.GeneralTracker):
    """A tracker that keeps what it is told."""

    name = "wandb"
    requires_logging_directory = False
    told: ClassVar[list[Any]] = []

    def __init__(self, project: str, **options: Any) -> None:
        super().__init__()
        Told.told = [project, options]

    def start(self) -> None:
        Told.told.append("started")

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        Told.told.append(values)

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        Told.told.append(values)

    def finish(self) -> None:
        Told.told.append("finished")


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Told)
    return Told


def test_a_tracker_is_told_the_figures_of_every_stage_under_the_runs_name(tmp_path: Path, wandb: type[Told]) -> None:
    config = topics_config(
        tmp_path, training={"report_to": ["wandb"]}, rounds=2, evaluate={"unlabeled_answers": "topic"}
    )
    run(config)
    assert track(RunFolder(config.output), config) == []
    project, options, started, sections, numbers, finished = wandb.told
    assert (project, options, started, finished) == ("semievol", {"name": "run"}, "started", "finished")
    assert sections["select.theta"] == 0.5
    metrics = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())
    assert numbers["models/evolved/accuracy"] == metrics["models"]["evolved"]["accuracy"]
    assert numbers["pseudo_labels/kept/accuracy"] == metrics["pseudo_labels"]["kept"]["accuracy"]
    assert numbers["select/kept"] == json.loads((tmp_path / "run/select/done.json").read_text())["kept"]
    assert {"collaborate/prompt_tokens", "evolve/seconds", "round-2/select/kept"} <= set(numbers)


def test_a_tracker_that_refuses_costs_a_line_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Told):
        def start(self) -> None:
            raise ConnectionError("no key")

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Refusing)
    config = topics_config(tmp_path, training={"report_to": ["wandb"]})
    assert semievol.run(config).metrics
    assert "training.report_to: wandb was not told of the run: ConnectionError: no key" in capsys.readouterr().err


def test_a_run_without_trackers_tells_nobody(tmp_path: Path, wandb: type[Told]) -> None:
    wandb.told = []
    semievol.run(topics_config(tmp_path), progress=False)
    assert wandb.told == []


def test_figures_are_numbers(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    numbers = figures(RunFolder(config.output))
    assert numbers
    assert all(type(value) is float for value in numbers.values())


def test_tensorboard_has_a_folder_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    config = topics_config(tmp_path, training={"report_to": ["tensorboard"]})
    run(config)
    assert track(RunFolder(config.output), config) == []
    assert list((tmp_path / "run/logs/tensorboard").glob("events.*"))
