"""How much memory a model takes: against what was measured on a card, and by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from semievol.config import ModelConfig, TrainingConfig

torch = pytest.importorskip("torch", reason="needs the extra `local`")

from benchmarks.gpu.model import written  # noqa: E402

from semievol.forecast import memory  # noqa: E402
from semievol.forecast.memory import GB, Load, memory_notes, of_training, of_weights, shape_of, that_fit  # noqa: E402

MEASURED = Path(__file__).parents[2] / "benchmarks/results/speed/gpu/nvidia-h100-80gb-hbm3.json"
GIB = 2**30


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelConfig]:
    return {name: written(name, tmp_path_factory.mktemp(name)) for name in ("8B", "1B", "tiny")}


@pytest.mark.parametrize("name", ["8B", "1B"])
def test_a_training_takes_what_it_took_on_an_h100(shapes: dict[str, ModelConfig], name: str) -> None:
    found = json.loads(MEASURED.read_text())["training, long"][name]
    recipe = TrainingConfig(per_device_train_batch_size=1)
    tokens, answers = found["tokens_a_row"], found["answer_tokens_a_row"]
    expected = of_training(shape_of(shapes[name]), "bfloat16", None, recipe, tokens, answers)
    assert expected / GIB == pytest.approx(found["ours"]["peak_memory_gb"], rel=0.05)


def test_llamas_parts_are_those_of_its_paper(shapes: dict[str, ModelConfig]) -> None:
    shape = shape_of(shapes["8B"])
    assert shape.linear + shape.others == 8_030_261_248
    assert shape.others == 2 * 128256 * 4096 + (2 * 32 + 1) * 4096
    assert shape.sides == 32 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert shape_of(shapes["1B"]).linear + shape_of(shapes["1B"]).others == 1_235_814_400  # its head is its embedding


def test_the_parts_are_those_of_the_model_that_is_loaded(shapes: dict[str, ModelConfig]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(memory.model_description(shapes["tiny"]))
    shape = shape_of(shapes["tiny"])
    assert shape.linear + shape.others == sum(weight.numel() for weight in model.parameters())
    assert of_weights(shape, "float32", None) == model.get_memory_footprint(return_buffers=False)


def test_4_bits_take_what_bitsandbytes_takes(shapes: dict[str, ModelConfig]) -> None:
    functional = pytest.importorskip("bitsandbytes", reason="needs the extra `quantized`").functional
    packed, state = functional.quantize_4bit(torch.randn(2048, 2048), quant_type="nf4", compress_statistics=True)
    scales = state.absmax.nbytes + state.state2.absmax.nbytes
    assert (packed.nbytes + scales) / 2048**2 == pytest.approx(memory.NF4_BYTES, rel=1e-3)


def test_what_has_it_fit_is_named_with_no_option_that_is_not_needed(shapes: dict[str, ModelConfig]) -> None:
    recipe = TrainingConfig(per_device_train_batch_size=2, batch_tokens=1)
    load, shape = Load(shapes["8B"], recipe, 1024, 16), shape_of(shapes["8B"])
    names = ("model.quantization: nf4", "training.gradient_checkpointing: true")
    single = "training.per_device_train_batch_size: 1"
    assert set(that_fit(load, shape, 24 * GB)) == {(names[0],), (names[1],), (single,)}
    assert set(that_fit(load, shape, 16 * GB)) == {(names[0], single), names}
    assert set(that_fit(load, shape, 8 * GB)) == {names}
    assert that_fit(load, shape, 4 * GB) == {}


@pytest.mark.parametrize(
    ("options", "rows"), [({}, 4), ({"batch_tokens": 1}, 1), ({"per_device_train_batch_size": 6}, 6)]
)
def test_a_pass_has_as_many_rows_as_a_step_has_and_its_tokens_hold(
    shapes: dict[str, ModelConfig], options: dict[str, Any], rows: int
) -> None:
    assert Load(shapes["8B"], TrainingConfig(**options), 1000, 16).rows == rows
    assert Load(shapes["8B"], TrainingConfig(gradient_accumulation_steps=3), 10, 1).rows == 3


def test_on_a_gpu_what_does_not_fit_is_computed_in_parts(
    shapes: dict[str, ModelConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "resolve_device", lambda model: "cuda")
    _, line = notes(Load(shapes["8B"], TrainingConfig(), 1024, 16), 24, monkeypatch)
    assert line == "what does not fit is computed in parts; a row alone takes at most 22.3 GB"
    *_, workers = notes(Load(shapes["8B"], TrainingConfig(launcher="ray", num_workers=8), 1024, 16), 24, monkeypatch)
    assert workers.startswith("that does not fit")


def notes(load: Load, gigabytes: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(memory, "memory_of", lambda model: gigabytes * GB)
    return list(memory_notes(load))


def test_what_fits_is_one_line_and_what_does_not_says_what_would(
    shapes: dict[str, ModelConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Load(shapes["8B"], TrainingConfig(batch_tokens=1), 1024, 16)
    (line,) = notes(load, 80, monkeypatch)
    assert line.startswith("memory: 16.1 GB of weights in bfloat16; training at most 22.3 GB, with batches of 1 x 1024")
    _, first, second = notes(load, 20, monkeypatch)
    assert first.startswith("that does not fit; it would need ")
    assert {first.rpartition(" with ")[2], second.rpartition(" with ")[2]} == {
        "model.quantization: nf4",
        "training.gradient_checkpointing: true",
    }
    *_, last = notes(load, 4, monkeypatch)
    assert "whatever is set" in last


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_experts_per_tok": 2, "moe_intermediate_size": 96, "intermediate_size": 512}, 192),
        ({"num_experts_per_tok": 2, "intermediate_size": 512}, 1024),
        ({"intermediate_size": 512}, 512),
        ({}, 256),
    ],
)
def test_a_token_passes_through_as_wide_a_part_as_its_experts_are(options: dict[str, Any], expected: int) -> None:
    from types import SimpleNamespace

    assert memory._inner(SimpleNamespace(hidden_size=64, **options)) == expected
