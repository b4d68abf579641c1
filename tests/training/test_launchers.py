"""Trainings of several processes give what one gives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import exists, soon
from semievol.config import ModelConfig, TrainingConfig
from semievol.errors import Stopped, TrainingError
from semievol.records import Message, TrainingExample
from tiny import save_tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from safetensors.torch import load_file  # noqa: E402

from semievol.training import Trained, open_trainer  # noqa: E402
from semievol.training.job import Job  # noqa: E402

RECIPE = TrainingConfig(
    num_train_epochs=2, learning_rate=1e-2, per_device_train_batch_size=1, gradient_accumulation_steps=4
)
LETTERS = "sun", "goal", "bank", "wind and rain", "a", "match of the day", "loan"
EXAMPLES = [
    TrainingExample(str(i), (Message(role="user", content=word),), word[:1] * (i * i % 7 + 1), 0.5 + i % 2)
    for i, word in enumerate(LETTERS)
]
"""Seven rows of uneven answers: the second step of each epoch has three, and one pass of a worker no row."""

LAUNCHERS = [pytest.param("accelerate", id="accelerate"), pytest.param("ray", id="ray", marks=pytest.mark.ray)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(name=save_tiny_model(tmp_path_factory.mktemp("tiny")), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def alone(model: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(model, tmp_path_factory.mktemp("alone") / "out", "inline")


@pytest.fixture(autouse=True)
def cluster(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("ray_cluster")


def train(model: ModelConfig, out: Path, launcher: str, progress: Any = None, **options: Any) -> Trained:
    if launcher != "inline":
        options = {"num_workers": 2, "launcher": launcher, **options}
    recipe = TrainingConfig.model_validate({**RECIPE.model_dump(), **options})
    told = {} if progress is None else {"progress": progress}
    return open_trainer(recipe).train(Job(model, EXAMPLES, recipe, out, 3), **told)


def assert_same_adapter(one: Trained, other: Trained) -> None:
    ours, theirs = (load_file(Path(trained.weights) / "adapter_model.safetensors") for trained in (one, other))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        pytest.param("accelerate", {}, id="accelerate-ddp"),
        pytest.param("accelerate", {"fsdp": True, "gradient_checkpointing": True}, id="accelerate-fsdp-checkpointing"),
        pytest.param("ray", {}, id="ray-ddp", marks=pytest.mark.ray),
    ],
)
def test_two_workers_reach_the_losses_and_the_adapter_of_one(
    model: ModelConfig, alone: Trained, tmp_path: Path, launcher: str, options: dict[str, Any]
) -> None:
    steps: list[tuple[int, int]] = []
    both = train(
        model, tmp_path / "out", launcher, lambda step, steps_, loss, note="": steps.append((step, steps_)), **options
    )
    assert both.losses == pytest.approx(alone.losses, rel=1e-3)
    assert (both.steps, both.tokens) == (alone.steps, alone.tokens)
    assert_same_adapter(both, alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert [step for step in dict.fromkeys(steps) if step[0]] == [(i, 4) for i in range(1, 5)]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_training_that_is_stopped_ends_and_leaves_no_process(
    model: ModelConfig, tmp_path: Path, launcher: str
) -> None:
    seen: set[int] = set()

    def stop(step: int, steps: int, loss: float | None, note: str = "") -> None:
        seen.update(workers_of(launcher))
        if step >= 2:
            raise Stopped("stopped as asked")

    with pytest.raises(Stopped):
        train(model, tmp_path / "out", launcher, stop, num_train_epochs=500)
    assert not (tmp_path / "out" / "adapter_model.safetensors").exists()
    assert launcher == "ray" or len(seen) == 2
    assert soon(lambda: not any(map(exists, seen)))


def test_two_workers_go_on_from_the_step_at_which_they_were_stopped(model: ModelConfig, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(step: int, steps: int, loss: float | None, note: str = "") -> None:
        if step == 2:
            raise Stopped("stopped as asked")

    slowly = {"num_train_epochs": 30, "learning_rate": 1e-3}
    with pytest.raises(Stopped):
        train(model, tmp_path / "out", "accelerate", stop, **slowly)
    (checkpoint,) = (tmp_path / "out").iterdir()
    both = train(model, tmp_path / "out", "accelerate", lambda step, *_, **__: seen.append(step), **slowly)
    assert f"checkpoint-{next(step for step in seen if step) - 1}" == checkpoint.name
    alone = train(model, tmp_path / "alone", "inline", **slowly)
    assert both.losses == pytest.approx(alone.losses, rel=1e-2)
    assert_same_adapter(both, alone)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_an_error_of_a_worker_is_ours(model: ModelConfig, tmp_path: Path, launcher: str) -> None:
    with pytest.raises(TrainingError, match=r"training\.lora_target_modules: "):
        train(model, tmp_path / "out", launcher, lora_target_modules=("no_such_layer",))


def test_a_worker_that_dies_ends_the_training_on_this_machine(model: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"a process ended: .*; the log has its output"):
        train(model, tmp_path / "out", "accelerate", killer("accelerate"), num_train_epochs=500)


@pytest.mark.ray
def test_a_worker_that_dies_on_a_cluster_costs_nothing_but_time(model: ModelConfig, tmp_path: Path) -> None:
    kill = killer("ray")
    both = train(model, tmp_path / "out", "ray", kill, num_train_epochs=20, fsdp=True)
    again = train(model, tmp_path / "alone", "inline", num_train_epochs=20)
    assert kill.killed  # type: ignore[attr-defined]
    assert both.losses == pytest.approx(again.losses, rel=1e-2, abs=1e-3)


def test_a_killed_launcher_leaves_no_process(model: ModelConfig, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import test_launchers as t;"
        "from semievol.config import ModelConfig as M;"
        "t.train(M(name=sys.argv[2], dtype='float32', device='cpu'), pathlib.Path(sys.argv[3]) / 'out', 'accelerate',"
        "lambda step, *_, **__: step and print(step, flush=True), num_train_epochs=5000)"
    )
    paths = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parent)])
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), model.name, str(tmp_path)]
    launcher = subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})
    assert launcher.stdout is not None
    assert launcher.stdout.readline()
    workers = workers_of("accelerate")
    assert len(workers) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    assert soon(lambda: not any(map(exists, workers)), 20)


def workers_of(launcher: str) -> list[int]:
    """The processes that train now and that descend from this one."""
    name = "semievol.training.launchers.process" if launcher == "accelerate" else "ray::RayTrainWorker"
    parents, found = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(name) for word in command) and "torch.distributed.run" not in command:
            found.append(int(process.name))
    return [process for process in found if os.getpid() in ancestors(process, parents)]


def ancestors(process: int, parents: dict[int, int]) -> Iterator[int]:
    while process in parents:
        process = parents[process]
        yield process


def killer(launcher: str) -> Callable[..., None]:
    """A progress that kills one worker, once, while it trains."""

    def progress(step: int, steps: int, loss: float | None, note: str = "") -> None:
        if step >= 3 and not progress.killed:  # type: ignore[attr-defined]
            progress.killed = True  # type: ignore[attr-defined]
            os.kill(max(workers_of(launcher)), signal.SIGKILL)
            time.sleep(0.1)

    progress.killed = False  # type: ignore[attr-defined]
    return progress
