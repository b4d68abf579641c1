"""What every trainer must do, whatever trains."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semievol.config import ModelConfig, TrainingConfig, build
from semievol.errors import Stopped, TrainingError
from semievol.records import Message, TrainingExample
from semievol.training import open_trainer
from semievol.training.job import Job
from service import Service

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("openai")

from tiny import save_tiny_model

WORDS = {"rain and snow": "weather", "goal and match": "sport", "bank and loan": "money", "wind": "weather"}
EXAMPLES = [
    TrainingExample(f"row-{i}", (Message(role="user", content=question),), answer)
    for i, (question, answer) in enumerate(WORDS.items())
] * 3
"""Twelve rows: fewer are refused by services."""
RECIPE = {"num_train_epochs": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
IN_PROCESS = ("fake", "local", "hosted")
TRAINERS = (*IN_PROCESS, "accelerate", pytest.param("ray", marks=pytest.mark.ray))
"""Each training of a launcher starts processes: what only says that their trainer is this one is left to it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(name=save_tiny_model(tmp_path_factory.mktemp("tiny")), dtype="float32", device="cpu")


@pytest.fixture
def job(request: pytest.FixtureRequest, model: ModelConfig, tmp_path: Path) -> Iterator[Job]:
    out = tmp_path / "out"
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    if request.param in ("accelerate", "ray"):
        spread = {"launcher": request.param, "num_workers": 2, "gradient_accumulation_steps": 2}
        yield Job(model, EXAMPLES, TrainingConfig.model_validate({**RECIPE, **spread}), out, 7)
    elif request.param == "hosted":
        with Service() as service:
            yield Job(ModelConfig(name="base"), EXAMPLES, hosted(service), out, 7)
    else:
        yield Job(model, EXAMPLES, TrainingConfig.model_validate({**RECIPE, "kind": request.param}), out, 7)


def hosted(service: Service) -> TrainingConfig:
    config = build(
        {
            "model": {"name": "base"},
            "backend": {"kind": "openai", "service": {"base_url": service.url}},
            "training": {"kind": "hosted", "num_train_epochs": 1, "hosted": {"poll_seconds": 0.01}},
        }
    )
    return config.recipe("warmup")


class Told:
    """Keeps what a trainer tells, and asks it to stop at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[int] = []
        self._stop_at = stop_at

    def __call__(self, step: int, steps: int, loss: float | None, note: str = "") -> None:
        assert 0 <= step <= steps or steps == 0
        self.steps.append(step)
        if self._stop_at is not None and step >= self._stop_at:
            raise Stopped("stopped as asked")


def content(folder: Path) -> dict[str, bytes]:
    """The files of the weights; those of a service lie there."""
    names = {"votes.json", "adapter_model.safetensors", "adapter_config.json"}
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.name in names}


@pytest.mark.parametrize("job", TRAINERS, indirect=True)
def test_it_trains_and_says_what_it_did(job: Job) -> None:
    told = Told()
    trained = open_trainer(job.recipe).train(job, told)
    assert trained.weights == str(job.out) or job.recipe.kind == "hosted"
    assert trained.weights
    assert trained.steps > 0
    assert trained.tokens > 0
    assert told.steps == sorted(told.steps)
    assert told.steps[-1] == trained.steps


@pytest.mark.parametrize("job", IN_PROCESS, indirect=True)
def test_it_needs_no_listener(job: Job) -> None:
    assert open_trainer(job.recipe).train(job).steps > 0


@pytest.mark.parametrize("job", IN_PROCESS, indirect=True)
def test_the_same_job_gives_the_same_weights(job: Job, tmp_path: Path) -> None:
    open_trainer(job.recipe).train(job)
    again = dataclasses.replace(job, out=tmp_path / "again")
    open_trainer(job.recipe).train(again)
    first, second = content(job.out), content(again.out)
    assert first == second


@pytest.mark.parametrize("job", ["fake", "local"], indirect=True)
def test_other_rows_give_other_weights(job: Job, tmp_path: Path) -> None:
    other = dataclasses.replace(job, examples=EXAMPLES[:8], out=tmp_path / "other")
    for one in (job, other):
        open_trainer(one.recipe).train(one)
    assert content(job.out) != content(other.out)


@pytest.mark.parametrize("job", [*IN_PROCESS, "accelerate"], indirect=True)
def test_nothing_to_train_on_is_refused(job: Job) -> None:
    with pytest.raises(TrainingError):
        open_trainer(job.recipe).train(dataclasses.replace(job, examples=[]))


@pytest.mark.parametrize("job", IN_PROCESS, indirect=True)
def test_a_training_that_is_stopped_goes_on_with_the_same_job(job: Job) -> None:
    with pytest.raises(Stopped):
        open_trainer(job.recipe).train(job, Told(stop_at=1))
    trained = open_trainer(job.recipe).train(job)
    assert trained.steps > 0
    assert trained.weights


@pytest.mark.parametrize("job", IN_PROCESS, indirect=True)
def test_trained_weights_are_trained_further(job: Job, tmp_path: Path) -> None:
    warm = open_trainer(job.recipe).train(job)
    further: Any = dataclasses.replace(job, examples=EXAMPLES[:10], out=tmp_path / "further", start_from=warm.weights)
    base = dataclasses.replace(further, out=tmp_path / "base", start_from=None)
    assert open_trainer(job.recipe).train(further).steps > 0
    if job.recipe.kind != "hosted":
        open_trainer(job.recipe).train(base)
        assert content(further.out) != content(base.out)
