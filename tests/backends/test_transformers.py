"""The transformers backend on a tiny random model, and once on the real one."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from semievol.config import Config, build
from semievol.errors import BackendError, ConfigError
from semievol.records import Message, Request, Response, Sampling
from tiny import end_of_turn, prompt_ids, response_ids, save_tiny_adapter, save_tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

import semievol.local.model  # noqa: E402
from semievol.backends.transformers import TransformersBackend  # noqa: E402
from semievol.local.adapter import Adapter  # noqa: E402
from semievol.local.batches import batches  # noqa: E402
from semievol.local.model import free_local_model, local_model  # noqa: E402
from semievol.models.loading import load_model, load_tokenizer  # noqa: E402
from semievol.models.types import resolve_dtype  # noqa: E402

QUESTIONS = [
    "oil",
    "What is wheat?",
    "Is the price of grain up or down this year?",
    "Rain",
    "a b c d e f g h i j k l m n",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    name = save_tiny_model(folder / "model")
    return build({"model": {"name": name, "dtype": "float32", "device": "cpu"}, "backend": {"batch_tokens": 300}})


@pytest.fixture(scope="module")
def adapter(config: Config, folder: Path) -> str:
    return save_tiny_adapter(config.model.name, folder / "adapter")


@pytest.fixture(scope="module")
def backend(config: Config, adapter: str) -> TransformersBackend:
    return TransformersBackend(config, {"warm": adapter})


def ask(question: str, weights: str = "base", temperature: float = 0.0, seed: int = 0, max_tokens: int = 8) -> Request:
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    return Request(
        f"{question}/{weights}/{temperature}/{seed}", (Message(role="user", content=question),), weights, sampling
    )


def queue(weights: str = "base") -> list[Request]:
    """Greedy and sampled requests of several lengths."""
    return [ask(q, weights, t, seed) for seed, q in enumerate(QUESTIONS) for t in (0.0, 1.0)]


def typed(config: Config, dtype: str) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})


def is_loaded() -> bool:
    return bool(semievol.local.model._held)


def answers(backend: TransformersBackend, requests: list[Request]) -> dict[str, Response]:
    responses = list(backend.generate(requests))
    assert sorted(response.id for response in responses) == sorted(request.id for request in requests)
    return {response.id: response for response in responses}


def test_a_request_gets_the_same_answer_alone_and_in_a_batch(backend: TransformersBackend) -> None:
    together = answers(backend, queue())
    assert len({response.text for response in together.values()}) > len(QUESTIONS)
    for request in queue():
        (alone,) = backend.generate([request])
        assert alone.text == together[request.id].text
        assert alone.logprobs == pytest.approx(together[request.id].logprobs, abs=1e-4)


def test_other_seeds_give_other_answers_and_the_same_seed_the_same(backend: TransformersBackend) -> None:
    texts = [next(backend.generate([ask("oil", temperature=1.0, seed=seed)])).text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_a_resumed_queue_gives_the_bytes_of_an_uninterrupted_one(backend: TransformersBackend) -> None:
    requests = queue() + queue("warm")
    whole = list(backend.generate(requests))
    for done in (1, 7, 13):
        finished = {response.id for response in whole[:done]}
        assert list(backend.generate(requests, finished)) == whole[done:]


def test_a_finished_queue_loads_no_weights(config: Config) -> None:
    free_local_model()
    fresh = TransformersBackend(config, {})
    assert list(fresh.generate(queue(), {request.id for request in queue()})) == []
    assert not is_loaded()


def test_scores_are_the_log_probabilities_of_generation(backend: TransformersBackend) -> None:
    compared = 0
    for weights in ("base", "warm"):
        told = answers(backend, queue(weights))
        given = [Request(r.id, r.messages, weights, response=told[r.id].text) for r in queue(weights)]
        for id_, scored in answers(backend, given).items():
            assert scored.finish == "scored"
            assert scored.completion_tokens == len(scored.logprobs or ())
            if len(told[id_].text) == told[id_].completion_tokens:  # no space was stripped at its ends
                assert scored.logprobs == pytest.approx(told[id_].logprobs, abs=1e-4)
                compared += 1
    assert compared > 10


def test_scores_are_those_of_the_model_called_by_hand(config: Config, backend: TransformersBackend) -> None:
    texts = ["oil", "grain and wheat", "", "no"]
    requests = [
        Request(str(i), (Message(role="user", content=q),), "base", response=text)
        for i, (q, text) in enumerate(zip(QUESTIONS, texts, strict=False))
    ]
    found = answers(backend, requests)
    model, tokenizer = load_model(config.model), load_tokenizer(config.model)
    for request in requests:
        prompt, given = prompt_ids(tokenizer, request.messages), response_ids(tokenizer, request.response or "")
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + given])).logits[0].log_softmax(dim=-1)
        expected = [float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(given)]
        assert found[request.id].logprobs == pytest.approx(expected, abs=1e-4)
        assert (found[request.id].prompt_tokens, found[request.id].completion_tokens) == (len(prompt), len(given))


def test_an_answer_ends_with_its_turn_or_at_its_longest(config: Config, backend: TransformersBackend) -> None:
    requests = [ask("Rain", temperature=3.0, seed=seed, max_tokens=100) for seed in range(12)]
    told = list(backend.generate(requests))
    assert {response.finish for response in told} == {"stop", "length"}
    for response in told:
        assert len(response.logprobs or ()) == response.completion_tokens
        assert (response.completion_tokens == 100) == (response.finish == "length")
        assert "<|im_end|>" not in response.text


def test_requests_with_other_limits_share_a_queue(backend: TransformersBackend) -> None:
    requests = [ask(q, temperature=1.0, seed=i, max_tokens=i + 1) for i, q in enumerate(QUESTIONS)]
    told = answers(backend, requests)
    assert all(told[r.id].completion_tokens <= r.sampling.max_tokens for r in requests)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_going_back_and_forth_reads_an_adapter_once(
    dtype: str, config: Config, adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_local_model()
    read = []

    class Counted(Adapter):
        def __init__(self, model: Any, folder: Path) -> None:
            read.append(str(folder))
            super().__init__(model, folder)

    monkeypatch.setattr("semievol.local.model.Adapter", Counted)
    other = save_tiny_adapter(config.model.name, tmp_path / "other", scale=0.2)
    backend = TransformersBackend(typed(config, dtype), {"warm": adapter, "evolved": other})
    first = [list(backend.generate(queue(name))) for name in ("base", "warm")]
    assert [list(backend.generate(queue(name))) for name in ("base", "warm")] == first
    assert read == [adapter]
    list(backend.generate(queue("evolved")))
    assert [list(backend.generate(queue(name))) for name in ("warm", "base")] == first[::-1]
    assert read == [adapter, other, adapter]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_adapter_leaves_the_base_as_it_was(dtype: str, config: Config, adapter: str) -> None:
    config = typed(config, dtype)
    backend = TransformersBackend(config, {"warm": adapter})
    before = list(backend.generate(queue()))
    layers = dict(local_model(config.model).model.named_modules())
    original = {name: weight.clone() for name, weight in local_model(config.model).model.state_dict().items()}
    warm = answers(backend, queue("warm"))
    assert any(warm[r.id.replace("/base/", "/warm/")].text != r.text for r in before)
    assert list(backend.generate(queue())) == before
    after = local_model(config.model).model
    assert dict(after.named_modules()) == layers
    assert not hasattr(after, "peft_config")
    assert {name: torch.equal(weight, original[name]) for name, weight in after.state_dict().items()} == dict.fromkeys(
        original, True
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_16_bits_an_adapter_changes_no_weight_of_the_base(dtype: str, config: Config, adapter: str) -> None:
    config = typed(config, dtype)
    original = [weight.clone() for weight in local_model(config.model).model.parameters()]
    list(TransformersBackend(config, {"warm": adapter}).generate([ask("oil", "warm")]))
    held = local_model(config.model)
    assert held.adapter == adapter
    now = {name: weight for name, weight in held.model.named_parameters() if "lora_" not in name}
    assert [torch.equal(*pair) for pair in zip(now.values(), original, strict=True)] == [True] * len(original)


def test_a_merged_adapter_answers_as_peft_does(config: Config, adapter: str, backend: TransformersBackend) -> None:
    from peft import PeftModel

    request = Request("x", (Message(role="user", content="oil"),), "warm", response="grain")
    (scored,) = backend.generate([request])
    model = PeftModel.from_pretrained(load_model(config.model), adapter).eval()
    tokenizer = load_tokenizer(config.model)
    prompt, given = prompt_ids(tokenizer, request.messages), response_ids(tokenizer, "grain")
    with torch.no_grad():
        logprobs = model(torch.tensor([prompt + given])).logits[0].log_softmax(dim=-1)
    expected = [float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(given)]
    assert scored.logprobs == pytest.approx(expected, abs=1e-3)


def test_requests_to_several_weights_share_a_queue(backend: TransformersBackend) -> None:
    mixed = [request for pair in zip(queue("warm"), queue("base"), strict=True) for request in pair]
    apart = answers(backend, queue("base")) | answers(backend, queue("warm"))
    assert {id_: response.text for id_, response in answers(backend, mixed).items()} == {
        id_: response.text for id_, response in apart.items()
    }


def test_a_prompt_that_is_too_long_fails_alone(backend: TransformersBackend) -> None:
    told = answers(backend, [ask("oil"), ask("x" * 300)])
    failed = told[ask("x" * 300).id]
    assert failed.finish == "error"
    assert "do not fit in the model's 256" in (failed.error or "")
    assert told[ask("oil").id].finish != "error"
    assert list(backend.generate([ask("x" * 300)], {failed.id})) == []


def test_unknown_weights_are_an_error_that_names_the_known_ones(backend: TransformersBackend) -> None:
    with pytest.raises(BackendError, match="'evolved'; there are base, warm"):
        list(backend.generate([ask("oil", weights="evolved")]))


def test_a_folder_without_an_adapter_is_an_error(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no PEFT adapter"):
        list(TransformersBackend(config, {"warm": str(tmp_path)}).generate([ask("oil", weights="warm")]))


def test_lengths_are_known_without_the_weights(config: Config) -> None:
    free_local_model()
    backend = TransformersBackend(config, {})
    tokenizer = load_tokenizer(config.model)
    request = Request("x", (Message(role="user", content="oil"),), "base", response="grain")
    prompt = len(prompt_ids(tokenizer, request.messages))
    assert backend.prompt_tokens(request) == prompt + 5
    assert backend.prompt_tokens(ask("oil")) == prompt
    assert backend.max_length() == 256
    assert not is_loaded()


def test_a_closed_backend_closes_again_and_answers_again(config: Config) -> None:
    backend = TransformersBackend(config, {})
    before = list(backend.generate([ask("oil")]))
    backend.close()
    backend.close()
    assert list(backend.generate([ask("oil")])) == before


def test_the_end_of_a_turn_is_not_the_end_of_text(config: Config) -> None:
    tokenizer = load_tokenizer(config.model)
    assert tokenizer.decode([end_of_turn(tokenizer)]) == "<|im_end|>"
    assert tokenizer.eos_token == "<|end|>"


@pytest.mark.model
def test_the_real_model_answers_and_its_scores_agree() -> None:
    backend = TransformersBackend(build({"model": {"dtype": "float32"}}), {})
    questions = ["What is the capital of France? One word.", "Say yes."]
    requests = [ask(question, temperature=t, max_tokens=12) for question in questions for t in (0.0, 1.0)]
    told = answers(backend, requests)
    assert "Paris" in told[requests[0].id].text
    greedy = told[requests[0].id]
    (scored,) = backend.generate([Request("s", requests[0].messages, "base", response=greedy.text)])
    assert scored.logprobs == pytest.approx(greedy.logprobs, abs=1e-3)


def roomy(config: Config) -> TransformersBackend:
    return TransformersBackend(
        config.model_copy(update={"backend": config.backend.model_copy(update={"batch_tokens": 10_000})}), {}
    )


def test_rows_that_share_a_prompt_compute_it_once(config: Config) -> None:
    requests = [ask(QUESTIONS[0], temperature=1.0, seed=seed, max_tokens=1) for seed in range(5)]
    alone = {request.id: answers(roomy(config), [request])[request.id].text for request in requests}
    backend = roomy(config)
    together = answers(backend, requests)
    assert {name: response.text for name, response in together.items()} == alone
    prompt = backend.prompt_tokens(requests[0])
    assert (backend.work.requested, backend.work.computed, backend.work.passes) == (5 * prompt, prompt, 1)


def with_examples() -> list[Request]:
    """Two instructions' worth of shared beginning, with examples that some rows share and others do not."""
    instruction = "Name the topic of the story in one word."
    parts = [("", "oil"), ("wheat is grain. ", "corn"), ("wheat is grain. ", "rice and rye"), ("gold. ", "a tin mine")]
    return [
        ask(f"{instruction} {example}{story}", temperature=t, seed=7, max_tokens=6)
        for example, story in parts
        for t in (0.0, 1.0)
    ]


def test_a_shared_beginning_changes_no_answer(config: Config) -> None:
    requests = with_examples()
    requests += [Request(f"{one.id}/score", one.messages, "base", response="grain") for one in requests]
    alone = {one.id: answers(TransformersBackend(config, {}), [one])[one.id] for one in requests}
    backend = roomy(config)
    together = answers(backend, requests)
    assert backend.work.computed < 0.6 * backend.work.requested
    for name, response in together.items():
        assert response.text == alone[name].text
        assert response.logprobs == pytest.approx(alone[name].logprobs, abs=1e-4)


def test_the_work_is_the_root_the_stems_and_the_leaves(config: Config) -> None:
    backend = roomy(config)
    requests = [dataclasses.replace(one, sampling=Sampling(max_tokens=1)) for one in with_examples()]
    (batch,) = batches([backend.prompts.row(one) for one in requests], 10_000)
    answers(backend, requests)
    assert backend.work.requested == sum(backend.prompt_tokens(one) for one in requests)
    assert backend.work.computed == len(batch.root) + sum(map(len, batch.stems)) + sum(map(len, batch.leaves))
    assert (backend.work.padding, backend.work.passes) == (0, 1)


def test_rows_that_have_ended_are_computed_no_further(config: Config) -> None:
    backend = roomy(config)
    requests = [ask(question, temperature=1.0, seed=seed, max_tokens=20) for question in QUESTIONS for seed in range(4)]
    told = answers(backend, requests)
    lengths = [response.completion_tokens for response in told.values()]
    assert len(set(lengths)) > 1
    prompts = roomy(config)
    answers(prompts, [dataclasses.replace(one, sampling=Sampling(max_tokens=1)) for one in requests])
    # The token that ends a turn is drawn and not computed, and neither is the last one. Rows that have ended are
    # dropped when they are half of all, so that at most as many are computed as go on.
    generated = sum(min(length, 19) for length in lengths)
    assert prompts.work.computed + generated <= backend.work.computed < prompts.work.computed + 2 * generated


def test_answers_and_training_borrow_one_model(config: Config) -> None:
    backend = TransformersBackend(config, {})
    before = list(backend.generate([ask("oil")]))
    held = local_model(config.model)
    backend.close()
    assert local_model(config.model) is held
    assert list(backend.generate([ask("oil")])) == before
    free_local_model()
    assert local_model(config.model) is not held
    assert list(backend.generate([ask("oil")])) == before


def test_a_type_that_is_resolved_is_no_other_model(config: Config) -> None:
    auto = config.model.model_copy(update={"dtype": "auto"})
    resolved = config.model.model_copy(update={"dtype": resolve_dtype(auto)})
    assert local_model(auto) is local_model(resolved)


def test_two_backends_do_not_answer_with_each_others_weights(config: Config, adapter: str) -> None:
    base, adapted = TransformersBackend(config, {}), TransformersBackend(config, {"warm": adapter})
    before = list(base.generate(queue()))
    list(adapted.generate(queue("warm")))
    assert list(base.generate(queue())) == before


def test_an_answer_is_over_at_a_stop_with_the_tokens_before_it(backend: TransformersBackend) -> None:
    whole = answers(backend, [ask(q, max_tokens=24) for q in QUESTIONS])
    stopped = 0
    for question in QUESTIONS:
        plain = whole[ask(question).id]
        if len(plain.text) < 8:
            continue
        stop = plain.text[4:6]
        asked = dataclasses.replace(ask(question), sampling=Sampling(max_tokens=24, stop=("nowhere in it", stop)))
        (told,) = backend.generate([asked])
        assert told.finish == "stop"
        assert told.text == plain.text[: plain.text.index(stop)].strip()
        assert told.completion_tokens == len(told.logprobs or ()) < plain.completion_tokens
        assert told.logprobs == pytest.approx((plain.logprobs or ())[: told.completion_tokens], abs=1e-4)
        stopped += 1
    assert stopped >= 2


def test_a_stop_ends_the_work_too(backend: TransformersBackend) -> None:
    (plain,) = backend.generate([ask("Rain", max_tokens=40)])
    before = backend.work.passes
    list(
        backend.generate([dataclasses.replace(ask("Rain"), sampling=Sampling(max_tokens=40, stop=(plain.text[2:4],)))])
    )
    assert backend.work.passes - before < 20


@pytest.mark.parametrize("scored", [False, True])
def test_a_batch_that_memory_does_not_suffice_for_is_answered_in_parts(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scored: bool
) -> None:
    asked = [dataclasses.replace(r, response="ok" if scored else None) for r in queue()]
    expected = {r.id: r for r in TransformersBackend(config, {}).generate(asked)}
    name = "_scored" if scored else "_generated"
    compute, sizes = getattr(TransformersBackend, name), list[int]()

    def short(self: TransformersBackend, passes: Any, batch: Any) -> Any:
        sizes.append(len(batch.rows))
        if len(batch.rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(self, passes, batch)

    monkeypatch.setattr(TransformersBackend, name, short)
    backend = TransformersBackend(config, {})
    found = {r.id: r for r in backend.generate(asked)}
    assert found.keys() == expected.keys()
    assert all(found[id_].text == response.text for id_, response in expected.items())
    assert all(found[id_].logprobs == pytest.approx(response.logprobs, abs=1e-4) for id_, response in expected.items())
    assert "backend.batch_tokens: " in caplog.text
    before = len(sizes)
    list(backend.generate(asked))
    assert max(sizes[before:]) <= 3  # what was learned once is not tried again


def test_a_row_that_memory_does_not_suffice_for_is_an_error_that_names_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")

    monkeypatch.setattr(TransformersBackend, "_generated", short)
    with pytest.raises(BackendError, match=r"oil/base/0\.0/0: out of memory for this row alone"):
        list(TransformersBackend(config, {}).generate([ask("oil")]))
