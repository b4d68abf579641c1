"""Base weights in 4 bits: the model that their values make, in training and in answering."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semievol.config import ModelConfig, TrainingConfig, build
from semievol.errors import ConfigError
from semievol.records import Message, Request, TrainingExample
from tiny import save_tiny_adapter, save_tiny_model

torch = pytest.importorskip("torch", reason="needs the extra `local`")
pytest.importorskip("trl")
bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs the extra `quantized`")
from safetensors.torch import load_file, save_file  # noqa: E402

from semievol.backends.transformers import TransformersBackend  # noqa: E402
from semievol.local.model import free_local_model, local_model  # noqa: E402
from semievol.models.loading import load_model  # noqa: E402
from semievol.training.job import Job  # noqa: E402
from semievol.training.local import LocalTrainer  # noqa: E402

RECIPE = TrainingConfig(num_train_epochs=2, learning_rate=1e-2, per_device_train_batch_size=4, lora_r=4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dequantized(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a plain model whose weights are those that 4 bits can say."""
    folder = tmp_path_factory.mktemp("dequantized") / "model"
    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    for name, module in load_model(in_4_bits(tiny)).named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            values = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            assert not torch.equal(values, weights[f"{name}.weight"])
            weights[f"{name}.weight"] = values.contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    yield
    free_local_model()


def in_4_bits(name: str) -> ModelConfig:
    return plain(name).model_copy(update={"quantization": "nf4"})


def plain(name: str) -> ModelConfig:
    return ModelConfig(name=name, dtype="float32", device="cpu")


def examples() -> list[TrainingExample]:
    rows = [("how many legs has a cat", "4"), ("how many legs has a bird", "2"), ("and a spider", "8"), ("and a", "1")]
    return [TrainingExample(str(i), (Message(role="user", content=q),), a) for i, (q, a) in enumerate(rows * 2)]


def answers(model: ModelConfig, weights: dict[str, str] | None = None) -> list[Any]:
    """What is answered, drawn greedily, and how likely each example's response is."""
    backend = TransformersBackend(build({"model": model.model_dump()}), weights or {})
    name = next(iter(weights or {}), "base")
    asked = [Request(e.id, e.messages, name, response=e.response) for e in examples()[:4]]
    drawn = [Request(f"drawn-{e.id}", e.messages, name) for e in examples()[:4]]
    return [(r.id, r.text, r.logprobs) for r in sorted(backend.generate(asked + drawn), key=lambda r: r.id)]


def alike(first: list[Any], second: list[Any]) -> bool:
    return all(
        one[:2] == other[:2] and one[2] == pytest.approx(other[2], abs=1e-3)
        for one, other in zip(first, second, strict=True)
    )


def trained(model: ModelConfig, out: Path, **options: Any) -> dict[str, torch.Tensor]:
    job = Job(model, examples(), RECIPE.model_copy(update=options), out, seed=0)
    LocalTrainer().train(job)
    return load_file(out / "adapter_model.safetensors")


@pytest.mark.parametrize("module", ["semievol.training.local", "semievol.local.model"])
def test_a_package_that_nobody_asks_for_is_not_missed_aloud(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=True)
    assert "kernels" not in done.stdout + done.stderr


def test_linear_layers_take_a_quarter_of_the_memory_of_16_bits(tiny: str) -> None:
    layers = [m for m in load_model(in_4_bits(tiny)).modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    assert all(2 * layer.weight.nbytes == layer.in_features * layer.out_features for layer in layers)


def test_answers_are_those_of_the_model_that_4_bits_say(tiny: str, dequantized: str) -> None:
    assert local_model(in_4_bits(tiny)).way.name == "tree"
    assert alike(answers(in_4_bits(tiny)), answers(plain(dequantized)))
    assert not alike(answers(in_4_bits(tiny)), answers(plain(tiny)))


def test_an_adapter_answers_beside_them_and_leaves_them_as_they_were(
    tiny: str, dequantized: str, tmp_path: Path
) -> None:
    weights = {"warm": save_tiny_adapter(tiny, tmp_path)}
    before = answers(in_4_bits(tiny))
    with_adapter = answers(in_4_bits(tiny), weights)
    assert alike(with_adapter, answers(plain(dequantized), weights))
    assert [row[2] for row in with_adapter] != [row[2] for row in before]
    assert answers(in_4_bits(tiny)) == before


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_adapter_is_trained_as_on_the_model_that_4_bits_say(
    tiny: str, dequantized: str, tmp_path: Path, checkpointing: bool
) -> None:
    answers(in_4_bits(tiny))  # bitsandbytes packs weights anew when a CPU answers, and loses gradients
    found = trained(in_4_bits(tiny), tmp_path / "quantized", gradient_checkpointing=checkpointing)
    expected = trained(plain(dequantized), tmp_path / "plain")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, atol=2e-4), name
    assert max(weight.abs().max() for name, weight in expected.items() if "lora_B" in name) > 5e-3


def test_the_base_answers_after_a_training_as_it_did_before(tiny: str, tmp_path: Path) -> None:
    before = answers(in_4_bits(tiny))
    trained(in_4_bits(tiny), tmp_path / "adapter")
    assert answers(in_4_bits(tiny)) == before


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"backend": {"kind": "openai"}, "training": {"kind": "hosted"}}, "a service's weights are its own"),
        ({"training": {"fsdp": True, "num_workers": 2, "launcher": "accelerate"}}, "are not spread"),
    ],
)
def test_where_weights_cannot_be_quantised_it_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"model": {"name": "some-model", "quantization": "nf4"}, **sections})
