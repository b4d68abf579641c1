"""Real vLLM on this machine's CPU against the transformers backend: `make test-vllm`."""

import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from samples import TOPICS
from semievol.config import Config, TrainingConfig, build
from semievol.records import Message, Request, Response, Sampling, TrainingExample
from vllm_engine import ENGINE, MODEL, small_engine

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed here; make test-vllm", allow_module_level=True)

import torch

from semievol.backends.service.clients import open_client
from semievol.backends.transformers import TransformersBackend
from semievol.backends.vllm.backend import VllmBackend
from semievol.backends.vllm.token_ids import PLACES, Piece, choices, token_id
from semievol.models.loading import load_model, resolve_model
from semievol.training.job import Job
from semievol.training.local import LocalTrainer
from tiny import save_tiny_adapter

pytestmark = [pytest.mark.vllm, pytest.mark.model, pytest.mark.network]

TOLERANCE = 1e-3
"""Nats by which the two engines' means may differ."""


@pytest.fixture(scope="module", autouse=True)
def room() -> Iterator[None]:
    with small_engine():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    backend = {"kind": "vllm", "vllm": {"engine_options": ENGINE}}
    return build({"output": str(folder / "run"), "model": MODEL, "backend": backend})


@pytest.fixture(scope="module")
def adapters(config: Config, folder: Path) -> dict[str, str]:
    return {"warm": save_tiny_adapter(resolve_model(config.model), folder / "adapter", scale=0.02)}


@pytest.fixture(scope="module")
def vllm(config: Config, adapters: dict[str, str]) -> Iterator[VllmBackend]:
    backend = VllmBackend(config, adapters)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def transformers(config: Config, adapters: dict[str, str]) -> TransformersBackend:
    return TransformersBackend(config, adapters)


def prompts() -> list[str]:
    """Questions with a common beginning, from short to longer than a block of the prefix cache."""
    opening = f"Which topic is it: {', '.join(TOPICS)}? Answer with one word.\n\n"
    stories = [" ".join(words[:4]) for words in TOPICS.values()]
    return [opening + story for story in stories] + [opening + " ".join(stories * 20), "Say hello."]


def ask(question: str, weights: str, **sampling: Any) -> Request:
    messages = (Message(role="user", content=question),)
    return Request(f"{question}/{weights}", messages, weights, Sampling(**{"max_tokens": 12, **sampling}))


def told(backend: Any, requests: list[Request]) -> dict[str, Response]:
    found = {response.id: response for response in backend.generate(requests)}
    assert [response.error for response in found.values()] == [None] * len(requests)
    return found


@pytest.mark.parametrize("weights", ["base", "warm"])
def test_h_and_the_scores_of_choices_are_those_of_transformers(
    weights: str, vllm: VllmBackend, transformers: TransformersBackend
) -> None:
    requests = [
        dataclasses.replace(request, id=f"{request.id}/{text}", response=text)
        for request in (ask(question, weights) for question in prompts())
        for text in (*TOPICS, "A", "It is about the weather, and about nothing else that I could name.")
    ]
    ours, theirs = told(vllm, requests), told(transformers, requests)
    for id_, response in ours.items():
        assert response.mean_nll == pytest.approx(theirs[id_].mean_nll, abs=TOLERANCE)
        assert sum(response.logprobs or ()) == pytest.approx(sum(theirs[id_].logprobs or ()), abs=0.01)
        assert response.completion_tokens == theirs[id_].completion_tokens


@pytest.mark.parametrize("weights", ["base", "warm"])
def test_greedy_answers_and_their_log_probabilities_are_those_of_transformers(
    weights: str, vllm: VllmBackend, transformers: TransformersBackend
) -> None:
    requests = [ask(question, weights, max_tokens=24) for question in prompts()]
    ours, theirs = told(vllm, requests), told(transformers, requests)
    assert {response.finish for response in ours.values()} <= {"stop", "length"}
    for id_, response in ours.items():
        assert (response.text, response.finish) == (theirs[id_].text, theirs[id_].finish)
        assert response.logprobs == pytest.approx(theirs[id_].logprobs, abs=TOLERANCE)


def test_sampled_tokens_have_the_log_probability_of_the_unmodified_distribution(
    vllm: VllmBackend, config: Config
) -> None:
    told(vllm, [ask("oil", "base")])
    assert vllm._engine is not None
    assert vllm._dialect is not None
    model = load_model(config.model)
    with open_client(vllm._engine.service) as client:
        for question in prompts():
            piece = Piece(vllm._prompts.row(ask(question, "base", temperature=1.5, top_p=0.8)))
            body = vllm._dialect.call(piece, "base")
            said = choices(client.post("/completions", body=body, cast_to=object))[0]["logprobs"]
            tokens = [token_id(token) for token in said["tokens"]]
            with torch.inference_mode():
                logits = model(torch.tensor([[*piece.row.prompt, *tokens]])).logits[0, -len(tokens) - 1 : -1]
            expected = logits.log_softmax(dim=-1)[range(len(tokens)), tokens]
            assert said["token_logprobs"] == pytest.approx(expected.tolist(), abs=TOLERANCE)


def test_a_response_longer_than_one_call_is_scored_whole(vllm: VllmBackend, transformers: TransformersBackend) -> None:
    text = " ".join(f"{number} and" for number in range(30))
    request = dataclasses.replace(ask("Count.", "base"), response=text)
    (ours,), (theirs,) = vllm.generate([request]), transformers.generate([request])
    assert ours.completion_tokens > PLACES
    assert ours.logprobs == pytest.approx(theirs.logprobs, abs=TOLERANCE)


def test_a_long_prompt_with_a_seed_does_not_end_the_engine(vllm: VllmBackend) -> None:
    many = [ask(f"{n} {n + 1} " * 200, "base", temperature=1.0, seed=n, max_tokens=2) for n in range(2)]
    assert len(told(vllm, many)) == len(many)


@pytest.mark.parametrize("learning_rate", [1e-4, 1e-3])
def test_in_bfloat16_a_trained_adapter_has_the_h_of_transformers(
    learning_rate: float, config: Config, tmp_path: Path
) -> None:
    model = config.model.model_copy(update={"dtype": "bfloat16"})
    half = config.model_copy(update={"model": model, "output": tmp_path / "run"})
    recipe = TrainingConfig(
        num_train_epochs=8, learning_rate=learning_rate, per_device_train_batch_size=4, gradient_accumulation_steps=1
    )
    asked = [ask(question, "warm") for question in prompts()[: len(TOPICS)]]
    rows = [TrainingExample(r.id, r.messages, topic) for r, topic in zip(asked, TOPICS, strict=True)]
    folder = LocalTrainer().train(Job(model, rows * 4, recipe, tmp_path / "adapter", 0)).weights
    requests = [dataclasses.replace(r, id=f"{r.id}/{topic}", response=topic) for r in asked for topic in TOPICS]
    theirs = told(TransformersBackend(half, {"warm": folder}), requests)
    exact = told(TransformersBackend(config, {"warm": folder}), requests)
    backend = VllmBackend(half, {"warm": folder})
    try:
        ours = told(backend, requests)
    finally:
        backend.close()
    h = {name: fmean(found[r.id].mean_nll for r in requests) for name, found in (("ours", ours), ("theirs", theirs))}
    assert h["ours"] == pytest.approx(h["theirs"], abs=0.1)
    assert h["ours"] == pytest.approx(fmean(exact[r.id].mean_nll for r in requests), abs=0.1)
