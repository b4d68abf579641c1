"""Local training on a tiny random model."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from semievol.config import ModelConfig, TrainingConfig
from semievol.errors import BackendError, Stopped, TrainingError
from semievol.models.chat import ChatTemplate
from semievol.records import Message, TrainingExample
from tiny import end_of_turn, prompt_ids, response_ids, save_tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from accelerate import Accelerator  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from semievol.backends.transformers import TransformersBackend  # noqa: E402
from semievol.config import build  # noqa: E402
from semievol.local.model import free_local_model, local_model  # noqa: E402
from semievol.models.loading import load_model, load_template, load_tokenizer  # noqa: E402
from semievol.records import Request  # noqa: E402
from semievol.training import Trained, sft  # noqa: E402
from semievol.training.job import Job  # noqa: E402
from semievol.training.local import LocalTrainer  # noqa: E402
from semievol.training.rows import Collator, tokenised  # noqa: E402

WORDS = {"rain and snow": "weather", "goal and match": "sport", "bank and loan": "money", "wind": "weather"}
RECIPE = TrainingConfig(
    num_train_epochs=4, learning_rate=1e-2, per_device_train_batch_size=2, gradient_accumulation_steps=1
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(name=save_tiny_model(tmp_path_factory.mktemp("tiny")), dtype="float32", device="cpu")


def chat(id_: str, question: str, answer: str, weight: float = 1.0) -> TrainingExample:
    return TrainingExample(id_, (Message(role="user", content=question),), answer, weight)


EXAMPLES = [chat(str(i), question, answer) for i, (question, answer) in enumerate(WORDS.items())]


def train(
    model: ModelConfig,
    out: Path,
    examples: Sequence[TrainingExample] = EXAMPLES,
    seed: int = 0,
    start_from: str | None = None,
    **options: object,
) -> Trained:
    return LocalTrainer().train(Job(model, examples, RECIPE.model_copy(update=options), out, seed, start_from))


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def expected_loss(model: ModelConfig, examples: Sequence[TrainingExample]) -> float:
    """Mean over answer tokens, end of turn included, of weight x negative log-likelihood under the base model."""
    base, tokenizer = load_model(model), load_tokenizer(model)
    total, tokens = 0.0, 0
    for example in examples:
        prompt = prompt_ids(tokenizer, example.messages)
        answer = [*response_ids(tokenizer, example.response), end_of_turn(tokenizer)]
        with torch.no_grad():
            logprobs = base(torch.tensor([prompt + answer])).logits[0].log_softmax(dim=-1)
        total -= example.weight * sum(float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(answer))
        tokens += len(answer)
    return total / tokens


def test_training_lowers_the_loss_and_says_what_it_did(model: ModelConfig, tmp_path: Path) -> None:
    steps: list[tuple[int, int, float | None]] = []
    trained = LocalTrainer().train(
        Job(model, EXAMPLES, RECIPE, tmp_path, 0),
        progress=lambda step, steps_, loss: steps.append((step, steps_, loss)),
    )
    assert trained.losses[-1] < trained.losses[0] / 2
    assert trained.steps == 8
    assert [(step, of) for step, of, _ in steps] == [(i, 8) for i in range(1, 9)]
    assert tuple(loss for _, _, loss in steps) == trained.losses
    rows = tokenised(load_template(model), EXAMPLES, 256)
    assert trained.tokens == 4 * sum(row.length for row in rows)


def test_only_an_adapter_is_saved_and_it_names_no_folder_of_this_machine(model: ModelConfig, tmp_path: Path) -> None:
    base = digest(Path(model.name))
    train(model, tmp_path / "out")
    assert sorted(digest(tmp_path / "out")) == ["adapter_config.json", "adapter_model.safetensors"]
    assert digest(Path(model.name)) == base
    saved = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == model.name
    assert "lm_head" not in saved["target_modules"]


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(model: ModelConfig, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 2**40 + 6)):
        train(model, tmp_path / name, seed=seed)
        torch.manual_seed(0)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_training_sees_the_tokens_of_serving(model: ModelConfig) -> None:
    tokenizer = load_tokenizer(model)
    backend = TransformersBackend(build({"model": model.model_dump()}), {})
    for row, example in zip(tokenised(ChatTemplate(tokenizer, ModelConfig()), EXAMPLES, 256), EXAMPLES, strict=True):
        served = backend.prompts.row(Request(example.id, example.messages, "base", response=example.response))
        assert row.prompt == served.prompt
        assert row.response == (*served.response, end_of_turn(tokenizer))
        assert tokenizer.decode(row.response).endswith("<|im_end|>")


def test_the_first_loss_is_the_mean_over_the_answers_tokens(model: ModelConfig, tmp_path: Path) -> None:
    whole = train(model, tmp_path / "a", per_device_train_batch_size=4, num_train_epochs=1)
    assert whole.losses[0] == pytest.approx(expected_loss(model, EXAMPLES), rel=1e-4)


def test_accumulated_batches_count_as_one(model: ModelConfig, tmp_path: Path) -> None:
    parts = train(model, tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=4, num_train_epochs=1)
    assert parts.steps == 1
    assert parts.losses[0] == pytest.approx(expected_loss(model, EXAMPLES), rel=1e-4)


def test_the_weight_of_an_example_multiplies_its_loss(model: ModelConfig, tmp_path: Path) -> None:
    examples = [chat("a", "rain", "weather", 0.0), chat("b", "goal", "sport", 0.5), chat("c", "bank", "money", 2.0)]
    trained = train(model, tmp_path, examples, per_device_train_batch_size=3, num_train_epochs=1)
    assert trained.losses[0] == pytest.approx(expected_loss(model, examples), rel=1e-4)


def test_training_goes_on_from_an_adapter(model: ModelConfig, tmp_path: Path) -> None:
    first = train(model, tmp_path / "first")
    further = train(model, tmp_path / "further", start_from=first.weights)
    assert further.losses[0] < first.losses[0] / 2
    assert digest(tmp_path / "further") != digest(tmp_path / "first")


def test_the_trained_model_gives_the_answers_it_was_trained_on(model: ModelConfig, tmp_path: Path) -> None:
    trained = train(model, tmp_path, num_train_epochs=40)
    backend = TransformersBackend(build({"model": model.model_dump()}), {"warm": trained.weights})
    told = backend.generate([Request(e.id, e.messages, "warm") for e in EXAMPLES])
    assert {(r.id, r.text, r.finish) for r in told} == {(e.id, e.response, "stop") for e in EXAMPLES}


def test_recomputed_activations_give_the_same_losses(model: ModelConfig, tmp_path: Path) -> None:
    kept = train(model, tmp_path / "a")
    recomputed = train(model, tmp_path / "b", gradient_checkpointing=True)
    assert recomputed.losses == pytest.approx(kept.losses, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"batch_tokens": "auto"}, [4]),
        ({"batch_tokens": 1}, [1, 1, 1, 1]),
        ({"batch_tokens": 100}, [2, 2]),
        ({"batch_tokens": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}, [2, 2]),
        ({"batch_tokens": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}, [4]),
    ],
)
def test_rows_of_a_step_are_computed_together_as_far_as_the_tokens_of_a_pass_go(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: list[int]
) -> None:
    options = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "num_train_epochs": 1, **options}
    passes = short_of_memory(99, "forward", monkeypatch)
    trained = train(model, tmp_path, **options)
    assert passes == expected
    assert trained.losses == pytest.approx((expected_loss(model, EXAMPLES),), rel=1e-4)


def short_of_memory(most_rows: int, where: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has passes of more rows fail, in the forward pass or at the end of the backward pass; the rows of each pass."""
    passes: list[int] = []
    forward, backward = sft.answer_logits, Accelerator.backward

    def answer_logits(run: Any, batch: Any) -> Any:
        passes.append(len(batch.rows))
        if where == "forward" and passes[-1] > most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(run, batch)

    def all_gradients(self: Any, loss: torch.Tensor, **options: Any) -> None:
        backward(self, loss, **options)
        if where == "backward" and passes[-1] > most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sft, "answer_logits", answer_logits)
    monkeypatch.setattr(Accelerator, "backward", all_gradients)
    return passes


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_batches_that_memory_does_not_suffice_for_are_trained_in_parts_of_the_same_steps(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    options = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 3}
    examples = [*EXAMPLES, *(chat(f"{e.id}-again", f"{e.messages[0]['content']}!", e.response) for e in EXAMPLES)]
    whole = train(model, tmp_path / "whole", examples, **options)
    passes = short_of_memory(1, where, monkeypatch)
    parts = train(model, tmp_path / "parts", examples, **options)
    assert passes[:4] == [8, 4, 2, 1]
    assert set(passes[4:]) == {1}
    assert parts.steps == whole.steps
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    expected, found = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "parts"))
    assert all(torch.allclose(found[name], weight, atol=1e-4) for name, weight in expected.items())
    assert [record.getMessage() for record in caplog.records if "going on with at most" in record.getMessage()] == [
        "training: memory does not suffice for 8 rows at once; going on with at most 4, in the same steps",
        "training: memory does not suffice for 4 rows at once; going on with at most 2, in the same steps",
        "training: memory does not suffice for 2 rows at once; going on with at most 1, in the same steps",
    ]


def test_a_single_row_that_memory_does_not_suffice_for_is_an_error(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(0, "forward", monkeypatch)
    with pytest.raises(BackendError, match=r"training: out of memory; .*gradient_checkpointing"):
        train(model, tmp_path)


def test_a_shared_beginning_is_computed_once_and_the_losses_stay(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [chat(str(i), f"Name the topic: {story}", topic) for i, (story, topic) in enumerate(WORDS.items())]
    roots = watched_roots(monkeypatch)
    shared = train(model, tmp_path / "a", asked)
    assert min(roots) >= len("Name the topic: ")
    monkeypatch.setattr("semievol.local.ways._only_keys_and_values", lambda model: False)
    free_local_model()
    roots.clear()
    alone = train(model, tmp_path / "b", asked)
    free_local_model()
    assert max(roots) == 0
    assert shared.losses == pytest.approx(alone.losses, rel=1e-3)


def watched_roots(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Length of the root of each batch that is trained on from now on."""
    roots: list[int] = []
    collate = Collator.__call__

    def watched(self: Collator, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(self, rows)
        roots.append(len(batch["batch"].root))
        return batch

    monkeypatch.setattr(Collator, "__call__", watched)
    return roots


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}])
def test_training_leaves_the_base_as_it_was(model: ModelConfig, tmp_path: Path, options: dict[str, Any]) -> None:
    ask = Request("x", (Message(role="user", content="oil"),), "base")
    backend = TransformersBackend(build({"model": model.model_dump()}), {})
    before = list(backend.generate([ask]))
    weights = {name: weight.clone() for name, weight in local_model(model).model.state_dict().items()}
    attention = local_model(model).model.config._attn_implementation
    train(model, tmp_path, **options)
    after = local_model(model).model
    assert after.config._attn_implementation == attention
    assert not after.training
    assert not any(weight.requires_grad for weight in after.parameters())
    assert {name: weight.tolist() for name, weight in after.state_dict().items()} == {
        name: weight.tolist() for name, weight in weights.items()
    }
    assert list(backend.generate([ask])) == before


def test_answers_and_training_load_one_model(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[ModelConfig] = []
    monkeypatch.setattr("semievol.local.model.load_model", lambda config: loads.append(config) or load_model(config))
    free_local_model()
    backend = TransformersBackend(build({"model": model.model_dump()}), {"warm": str(tmp_path / "adapter")})
    train(model, tmp_path / "adapter")
    list(backend.generate([Request("x", (Message(role="user", content="oil"),), name) for name in ("base", "warm")]))
    train(model, tmp_path / "again")
    assert len(loads) == 1


def test_bfloat16_is_trained_too(model: ModelConfig, tmp_path: Path) -> None:
    trained = train(model.model_copy(update={"dtype": "bfloat16"}), tmp_path)
    assert trained.losses[-1] < trained.losses[0] / 2


def test_long_rows_are_trained_in_blocks_of_queries(model: ModelConfig, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("semievol.local.attention.BLOCK", 4)
    monkeypatch.setattr("semievol.local.attention.KEPT", 0)
    trained = train(model, tmp_path, per_device_train_batch_size=4, num_train_epochs=1)
    assert trained.losses[0] == pytest.approx(expected_loss(model, EXAMPLES), rel=1e-4)


def test_training_tells_nobody(model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda *topics, **facts: sent.append(topics))
    train(model, tmp_path)
    assert sent == []


def test_nothing_to_train_on_is_an_error(model: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no examples"):
        train(model, tmp_path, [])


def test_a_row_longer_than_the_model_is_an_error_that_names_it(model: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"example long: \d+ tokens, and the model takes 256"):
        train(model, tmp_path, [*EXAMPLES, chat("long", "x" * 300, "weather")])


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_an_impossible_weight_is_an_error(model: ModelConfig, tmp_path: Path, weight: float) -> None:
    with pytest.raises(TrainingError, match="example x: the weight"):
        train(model, tmp_path, [chat("x", "rain", "weather", weight)])


def test_an_unknown_target_module_is_an_error(model: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training\.lora_target_modules"):
        train(model, tmp_path, lora_target_modules=("no_such_layer",))


def test_a_start_without_an_adapter_is_an_error(model: ModelConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no PEFT adapter"):
        train(model, tmp_path / "out", start_from=str(tmp_path))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    name = save_tiny_model(tmp_path / "model")
    broken = AutoModelForCausalLM.from_pretrained(name)
    broken.model.norm.weight.data.fill_(float("nan"))
    broken.save_pretrained(name)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1 of 8; lower training\.learning_rate"):
        train(ModelConfig(name=name, dtype="float32", device="cpu"), tmp_path / "out")


def test_an_interrupt_reaches_the_caller(model: ModelConfig, tmp_path: Path) -> None:
    def interrupt(step: int, steps: int, loss: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalTrainer().train(Job(model, EXAMPLES, RECIPE, tmp_path, 0), progress=interrupt)


class Steps:
    """A progress that writes down the steps, and raises an error at one of them."""

    def __init__(self, last: int = 0, error: BaseException | None = None) -> None:
        self.last, self.error = last, error
        self.seen: list[int] = []

    def __call__(self, step: int, steps: int, loss: float | None, note: str = "") -> None:
        self.seen.append(step)
        if self.error is not None and step == self.last:
            raise self.error


def train_watched(model: ModelConfig, out: Path, steps: Steps, **options: object) -> Trained:
    recipe = RECIPE.model_copy(update={"lora_dropout": 0.2, "num_train_epochs": 3, **options})
    return LocalTrainer().train(Job(model, FIVE, recipe, out, 3), progress=steps)


FIVE = [*EXAMPLES, chat("4", "snow and wind", "weather")]


@pytest.mark.parametrize(
    ("stopped_at", "options"),
    [
        pytest.param(3, {}, id="at the end of an epoch"),
        pytest.param(4, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}, id="within the next"),
        pytest.param(9, {}, id="at the very end"),
    ],
)
def test_a_training_that_was_stopped_goes_on_and_gives_the_bytes_of_one_that_was_not(
    model: ModelConfig, tmp_path: Path, stopped_at: int, options: dict[str, Any]
) -> None:
    whole = train_watched(model, tmp_path / "whole", Steps(), **options)
    with pytest.raises(Stopped):
        train_watched(model, tmp_path / "out", Steps(stopped_at, Stopped()), **options)
    torch.manual_seed(0)
    steps = Steps()
    trained = train_watched(model, tmp_path / "out", steps, **options)
    assert steps.seen == list(range(stopped_at + 1, 10))
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")
    assert (trained.steps, trained.tokens, trained.losses) == (whole.steps, whole.tokens, whole.losses)


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_watched(model, tmp_path / "whole", Steps())
    monkeypatch.setattr(sft, "EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train_watched(model, tmp_path / "out", Steps(6, KeyboardInterrupt()))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-5"]
    steps = Steps()
    assert train_watched(model, tmp_path / "out", steps).losses == whole.losses
    assert steps.seen == [6, 7, 8, 9]
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_a_checkpoint_that_was_not_written_to_its_end_does_not_count(
    model: ModelConfig, tmp_path: Path, damage: str
) -> None:
    with pytest.raises(Stopped):
        train_watched(model, tmp_path / "out", Steps(4, Stopped()))
    last = tmp_path / "out" / "checkpoint-4" / "trainer_state.json"
    if damage == "missing":
        last.unlink()
    else:
        last.write_text(last.read_text()[:40])
    steps = Steps()
    train_watched(model, tmp_path / "out", steps)
    assert steps.seen == list(range(1, 10))


def test_a_short_training_writes_no_checkpoint(model: ModelConfig, tmp_path: Path, monkeypatch) -> None:
    saved: list[object] = []
    monkeypatch.setattr(sft, "save_weights", lambda *given: saved.append(given))
    train(model, tmp_path / "out")
    assert not saved


def test_a_training_runs_on_the_gpu_that_the_model_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    recipe = TrainingConfig(kind="local")
    assert sft.arguments(recipe, tmp_path, 0, "cuda:1", "float32").device == torch.device("cuda:1")
    assert current == ["cuda:1"]


def test_events_of_a_tracker_lie_beside_the_weights_and_not_among_them(model: ModelConfig, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    train(model, tmp_path / "evolve/adapter", report_to=["tensorboard"])
    assert list((tmp_path / "evolve/tensorboard").glob("events.*"))
    assert {path.name for path in (tmp_path / "evolve/adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
