"""Every family of models through answers, scores and trainings, held against plain transformers and PEFT."""

import dataclasses
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from families import FAMILIES, Family, save_family

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, set_seed  # noqa: E402

from semievol.backends.transformers import TransformersBackend  # noqa: E402
from semievol.config import Config, ModelConfig, TrainingConfig, build  # noqa: E402
from semievol.local.batches import tree  # noqa: E402
from semievol.local.borrowed import train_adapter_alone  # noqa: E402
from semievol.local.model import free_local_model, local_model  # noqa: E402
from semievol.local.passes import Work  # noqa: E402
from semievol.models.loading import load_template, load_tokenizer  # noqa: E402
from semievol.records import Message, Request, Sampling, TrainingExample  # noqa: E402
from semievol.training.job import Job  # noqa: E402
from semievol.training.local import LocalTrainer, left_out  # noqa: E402
from semievol.training.rows import TokenisedRow, tokenised  # noqa: E402

QUESTIONS = {"Topic: oil and gas": "fuel", "Topic: a goal": "sport", "Topic: rain": "wet", "x": "sky"}
RECIPE = TrainingConfig(
    num_train_epochs=3,
    learning_rate=1e-2,
    lr_scheduler_type="constant",
    per_device_train_batch_size=len(QUESTIONS),
    gradient_accumulation_steps=1,
    lora_r=2,
    lora_alpha=4,
)
CLOSE = 1e-4


def message(question: str) -> tuple[Message, ...]:
    return (Message(role="user", content=question),)


EXAMPLES = [TrainingExample(q, message(q), answer) for q, answer in QUESTIONS.items()]


def answers_of(config: Config, weights: dict[str, str], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Greedy answers to all questions, and the scores of the given ones."""
    backend = TransformersBackend(config, weights)
    sampling = Sampling(temperature=0.0, max_tokens=6)
    asked = [Request(q, message(q), name, sampling) for q in QUESTIONS]
    given = [Request(q, message(q), name, response=answer) for q, answer in QUESTIONS.items()]
    return {r.id: r for r in backend.generate(asked)}, {r.id: r for r in backend.generate(given)}


def logprobs(model: Any, tokens: Sequence[int]) -> "torch.Tensor":
    return model(torch.tensor([list(tokens)]), use_cache=False).logits[0].log_softmax(dim=-1)


def assert_alike(config: Config, weights: dict[str, str], name: str, model: Any, rows: Sequence[TokenisedRow]) -> None:
    """Answers and scores of the engine are those of the plain model, which reads whole sequences alone."""
    tokenizer = load_tokenizer(config.model)
    told, scored = answers_of(config, weights, name)
    with torch.no_grad():
        for question, row in zip(QUESTIONS, rows, strict=True):
            given = row.response[:-1]
            found = logprobs(model, row.prompt + given)[-len(given) - 1 : -1]
            expected = [float(found[place, token]) for place, token in enumerate(given)]
            assert scored[question].logprobs == pytest.approx(expected, abs=CLOSE), question
            sequence, own = list(row.prompt), told[question]
            for logprob in own.logprobs:
                last = logprobs(model, sequence)[-1]
                assert logprob == pytest.approx(float(last.max()), abs=CLOSE), question
                sequence.append(int(last.argmax()))
            ids = sequence[len(row.prompt) :]
            assert own.text == tokenizer.decode(ids, skip_special_tokens=False).strip()


def plain_losses(base: Any, rows: Sequence[TokenisedRow], seed: int) -> list[float]:
    """Losses of plain PEFT with AdamW, the base as it answers."""
    set_seed(seed)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules="all-linear", exclude_modules=left_out(base)
    )
    model = get_peft_model(base, lora).eval()
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(3):
        found = [logprobs(model, r.prompt + r.response)[-len(r.response) - 1 : -1] for r in rows]
        of_rows = [-p.gather(1, torch.tensor(r.response)[:, None]).sum() for p, r in zip(found, rows, strict=True)]
        loss = sum(of_rows) / sum(len(row.response) for row in rows)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return losses


@pytest.fixture(scope="module", autouse=True)
def _quick_collection() -> Iterator[None]:
    """Trainer collects garbage before and after a training, and looks through all that the libraries have imported."""
    gc.collect()
    gc.freeze()
    yield
    free_local_model()
    gc.unfreeze()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_answers_scores_and_trains_as_with_plain_libraries(family: Family, tmp_path: Path) -> None:
    model = ModelConfig(name=save_family(family, tmp_path / "model"), dtype="float32", device="cpu")
    config = build({"model": model.model_dump()})
    rows = tokenised(load_template(model), EXAMPLES, 256)

    def plain() -> Any:
        return AutoModelForCausalLM.from_pretrained(model.name, dtype=torch.float32).eval().requires_grad_(False)

    try:
        assert local_model(model).way.name == family.way
        assert_alike(config, {}, "base", plain(), rows)
        warm = LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "warm", 5))
        assert warm.losses == pytest.approx(plain_losses(plain(), rows, 5), abs=CLOSE)
        evolved = LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "evolved", 5))
        assert evolved.losses == warm.losses
        adapted = PeftModel.from_pretrained(plain(), evolved.weights).eval()
        assert_alike(config, {"evolved": evolved.weights}, "evolved", adapted, rows)
    finally:
        free_local_model()


def test_long_neighbours_change_no_row_of_a_longrope_model(tmp_path: Path) -> None:
    """Rows on both sides of the length of the first training, and one that grows across it."""
    (family,) = [family for family in FAMILIES if family.name == "Phi-3 with LongRoPE"]
    model = ModelConfig(name=save_family(family, tmp_path / "model"), dtype="float32", device="cpu")
    base = AutoModelForCausalLM.from_pretrained(model.name, dtype=torch.float32).eval()
    boundary = base.config.rope_parameters["original_max_position_embeddings"]
    way = local_model(model).way
    assert way.boundary == boundary
    ids = list(range(40, 90)) * 2
    rows = [
        TokenisedRow(tuple(ids[start : start + length]), (5, 6), 1.0)
        for start, length in enumerate((9, 80, boundary - 4))
    ]
    try:
        batch = tree(rows, share=way.shares)
        passes = way.passes(local_model(model).model, Work(), 0)
        with torch.inference_mode():
            wanted = [1] * len(batch.leaves)
            found = [passes.prefill(batch, wanted, room=5)[batch.leaf_of_row]]
            steps = [[30 + step] * len(rows) for step in range(4)]
            found += [passes.step(tokens) for tokens in steps]
            passes.select([2, 0])
            last = passes.step([50, 50])
        for index, row in enumerate(batch.rows):
            for step, logits in enumerate(found):
                sequence = [*row.prompt, *row.response, *(tokens[index] for tokens in steps[:step])]
                expected = base(torch.tensor([sequence])).logits[0, -1]
                torch.testing.assert_close(logits[index], expected, rtol=CLOSE, atol=CLOSE)
        for place, index in enumerate((2, 0)):
            sequence = [*batch.rows[index].prompt, *batch.rows[index].response, 30, 31, 32, 33, 50]
            expected = base(torch.tensor([sequence])).logits[0, -1]
            torch.testing.assert_close(last[place], expected, rtol=CLOSE, atol=CLOSE)
    finally:
        free_local_model()


def everything(model: Any) -> dict[str, Any]:
    """What a model is, beside the numbers that it computes."""
    configs = [model.config, model.config.get_text_config(), model.generation_config]
    return {
        "configs": [config.to_dict() for config in configs],
        "flags": [vars(config).get("_attn_implementation_internal") for config in configs],
        "attributes": sorted(vars(model)),
        "forward": (vars(model).get("forward"), type(model).forward),
        "modules": [
            (name, type(module), module.training, sorted(vars(module)), {k: len(v) for k, v in hooks(module)})
            for name, module in model.named_modules()
        ],
        "weights": {name: (id(w), w.requires_grad, w.grad) for name, w in model.named_parameters()},
    }


def hooks(module: Any) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(module).items() if name.endswith("_hooks")]


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "mixtral", "granitemoehybrid"])
def test_the_base_is_the_same_before_and_after_two_trainings(model_type: str, tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model_type == model_type)
    model = ModelConfig(name=save_family(family, tmp_path / "model"), dtype="float32", device="cpu")
    config = build({"model": model.model_dump()})
    try:
        told = answers_of(config, {}, "base")
        base = local_model(model).model
        before, numbers = everything(base), {name: tensor.clone() for name, tensor in base.state_dict().items()}
        LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "first", 5))
        LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "second", 6, str(tmp_path / "first")))
        assert local_model(model).model is base
        after = everything(base)
        for what, state in before.items():
            assert after[what] == state, what
        for name, tensor in base.state_dict().items():
            assert torch.equal(tensor, numbers[name]), name
        assert answers_of(config, {}, "base") == told
    finally:
        free_local_model()


@pytest.mark.parametrize("model_type", ["gpt2", "opt", "qwen3_5_text"])
def test_recomputed_activations_bring_no_dropout_back(model_type: str, tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model_type == model_type)
    model = ModelConfig(name=save_family(family, tmp_path / "model"), dtype="float32", device="cpu")
    recomputed = RECIPE.model_copy(update={"gradient_checkpointing": True})
    kept = LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "kept", 5))
    assert LocalTrainer().train(Job(model, EXAMPLES, recomputed, tmp_path / "anew", 5)).losses == pytest.approx(
        kept.losses, abs=CLOSE
    )


def test_the_adapters_own_dropout_is_on_and_the_bases_is_off(tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model_type == "gpt2")
    base = AutoModelForCausalLM.from_pretrained(save_family(family, tmp_path / "model"))
    lora = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.5, target_modules="all-linear")
    model = get_peft_model(base, lora).train()
    train_adapter_alone(model)
    dropouts = {
        name: module.training for name, module in model.named_modules() if "drop" in type(module).__name__.lower()
    }
    assert {"lora_dropout" in name for name in dropouts} == {True, False}
    assert all(training == ("lora_dropout" in name) for name, training in dropouts.items())


def test_only_what_reads_text_gets_an_update(tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model_type == "gemma3")
    model = ModelConfig(name=save_family(family, tmp_path / "model"), dtype="float32", device="cpu")
    trained = LocalTrainer().train(Job(model, EXAMPLES[:1], RECIPE, tmp_path / "out", 5))
    names = list(load_file(Path(trained.weights) / "adapter_model.safetensors"))
    assert names
    assert not [name for name in names if "vision" in name]


@pytest.mark.parametrize("model_type", ["mixtral", "granitemoehybrid"])
def test_a_config_that_asks_for_router_losses_changes_nothing(model_type: str, tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model_type == model_type)
    asking = dataclasses.replace(family, options={**family.options, "output_router_logits": True})
    model = ModelConfig(name=save_family(asking, tmp_path / "model"), dtype="float32", device="cpu")
    assert local_model(model).way.name == family.way
    assert LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "out", 5)).steps == 3


def test_a_training_draws_the_same_numbers_whether_or_not_it_loads_the_model(tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model_type == "qwen3_5_text")
    model = ModelConfig(name=save_family(family, tmp_path / "model"), dtype="float32", device="cpu")
    free_local_model()
    loading = LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "loading", 5))
    assert LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path / "loaded", 5)).losses == loading.losses
