"""On a GPU each number that Python reads makes the card wait: a pass reads none. Counted here on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from semievol.config import ModelConfig, TrainingConfig, build
from semievol.records import Request, Sampling, TrainingExample
from tiny import save_tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from semievol.backends.transformers import TransformersBackend  # noqa: E402
from semievol.training.job import Job  # noqa: E402
from semievol.training.local import LocalTrainer  # noqa: E402
from semievol.training.sft import AnswerTrainer  # noqa: E402

READING = ("aten._local_scalar_dense", "aten.is_nonzero", "aten.nonzero", "aten.masked_select")
"""What `.item()`, `if tensor` and the like come to; an index by booleans is `nonzero` too, on the inside. A result that
is copied whole, once a batch, is not counted."""


class Reads(TorchDispatchMode):
    """Collects the operations for which Python waits."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if str(func).startswith("aten.index.") else ()
        if str(func).startswith(READING) or any(index is not None and index.dtype == torch.bool for index in indices):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def reads_of(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """Those of each call of a method."""
    calls: list[list[str]] = []
    method = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        with Reads() as reads:
            result = method(*args, **kwargs)
        calls.append(reads.names)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, counted)
        yield calls


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(name=save_tiny_model(tmp_path_factory.mktemp("model")), dtype="float32", device="cpu")


QUESTIONS = [[{"role": "user", "content": f"a question about the town, number {n}"}] for n in range(12)]


def test_what_makes_a_card_wait_is_counted() -> None:
    numbers = torch.arange(3)
    with Reads() as reads:
        numbers.sum().item()
        bool(numbers.any())
        numbers[numbers > 0]
    assert len(reads.names) == 3


@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_pass_of_a_training_waits(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    rows = [TrainingExample(f"r{n}", tuple(question), "yes" * (n % 3 + 1)) for n, question in enumerate(QUESTIONS)]
    recipe = TrainingConfig(kind="local", num_train_epochs=2, batch_tokens=80, gradient_checkpointing=checkpointing)
    with reads_of(AnswerTrainer, "_pass", monkeypatch) as calls:
        LocalTrainer().train(Job(model, rows, recipe, tmp_path / "out", 0, None))
    assert len(calls) > 4
    assert not any(calls)


@pytest.mark.parametrize("response", [None, "yes"])
def test_no_batch_of_answers_waits(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, response: str | None
) -> None:
    backend = TransformersBackend(build({"output": str(tmp_path), "model": model.model_dump()}), {})
    sampling = Sampling(temperature=0.7, max_tokens=4)
    requests = [Request(f"q{n}", tuple(each), "base", sampling, response) for n, each in enumerate(QUESTIONS)]
    list(backend.generate(requests[:1]))
    with reads_of(TransformersBackend, "_answered", monkeypatch) as calls:
        assert len(list(backend.generate(requests))) == len(requests)
    assert calls
    assert not any(calls)
