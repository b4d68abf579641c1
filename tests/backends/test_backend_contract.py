"""What every backend must do, whatever its engine."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semievol.backends import Backend, open_backend
from semievol.config import Config, build
from semievol.errors import BackendError
from semievol.records import Message, Request, Response, Sampling
from service import Service

torch = pytest.importorskip("torch")
pytest.importorskip("openai")

import vllm_standin  # noqa: E402
from tiny import save_tiny_model  # noqa: E402

QUESTIONS = ("oil", "What is wheat?", "Rain and snow", "Is grain up or down this year?", "a b c d e f g")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(params=["fake", "transformers", "openai", "vllm"])
def config(request: pytest.FixtureRequest, model: str, tmp_path: Path) -> Iterator[Config]:
    local = {"name": model, "dtype": "float32", "device": "cpu"}
    sections: dict[str, Any] = {
        "fake": {"backend": {"kind": "fake"}},
        "transformers": {"model": local, "backend": {"kind": "transformers"}},
        "vllm": {
            "model": local,
            "backend": {"kind": "vllm", "vllm": {"command": (sys.executable, vllm_standin.__file__, "serve")}},
        },
    }
    with Service() as service:
        sections["openai"] = {
            "model": {"name": "base"},
            "backend": {"kind": "openai", "service": {"base_url": service.url}},
        }
        yield build({"output": str(tmp_path / "run"), **sections[request.param]})


@pytest.fixture
def backend(config: Config) -> Iterator[Backend]:
    opened = open_backend(config, {})
    yield opened
    opened.close()


def asked(temperature: float = 0.0) -> list[Request]:
    sampling = [Sampling(temperature=temperature, max_tokens=6, seed=seed) for seed, _ in enumerate(QUESTIONS)]
    chats = [(Message(role="user", content=question),) for question in QUESTIONS]
    return [
        Request(f"row-{i}", chat, "base", drawn) for i, (chat, drawn) in enumerate(zip(chats, sampling, strict=True))
    ]


def by_id(responses: Iterator[Response]) -> dict[str, Response]:
    answers = list(responses)
    assert len({response.id for response in answers}) == len(answers), "a request was answered twice"
    return {response.id: response for response in answers}


def test_every_request_has_one_response(backend: Backend) -> None:
    answers = by_id(backend.generate(asked()))
    assert answers.keys() == {request.id for request in asked()}
    for response in answers.values():
        assert response.finish in ("stop", "length")
        assert response.error is None
        assert response.prompt_tokens > 0
        assert 0 <= response.completion_tokens <= 6 + 1  # a service may count the end of the turn


def test_log_probabilities_are_those_of_the_tokens_of_the_text(backend: Backend) -> None:
    for response in by_id(backend.generate(asked(temperature=1.0))).values():
        assert response.logprobs is not None
        assert all(math.isfinite(logprob) and logprob <= 0 for logprob in response.logprobs)
        assert bool(response.logprobs) == bool(response.text)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_same_request_has_the_same_response(backend: Backend, temperature: float) -> None:
    first, second = (by_id(backend.generate(asked(temperature))) for _ in range(2))
    assert {id_: response.text for id_, response in first.items()} == {id_: r.text for id_, r in second.items()}


def test_what_is_finished_is_not_answered_again(backend: Backend) -> None:
    finished = {"row-1", "row-3"}
    whole = by_id(backend.generate(asked()))
    rest = by_id(backend.generate(asked(), finished))
    assert rest.keys() == whole.keys() - finished
    assert all(rest[id_].text == whole[id_].text for id_ in rest)


def test_nothing_is_begun_after_a_stop(backend: Backend) -> None:
    assert list(backend.generate(asked(), (), lambda: True)) == []
    assert len(by_id(backend.generate(asked()))) == len(QUESTIONS)


def test_a_given_response_is_scored_or_refused(backend: Backend) -> None:
    (question, *_) = asked()
    scored = Request("scored", question.messages, "base", response="oil is up")
    if not backend.scores:
        with pytest.raises(BackendError, match="score"):
            list(backend.generate([scored]))
        return
    (response,) = backend.generate([scored])
    assert (response.id, response.text, response.finish) == ("scored", "oil is up", "scored")
    assert response.logprobs
    assert response.mean_nll is not None


def test_no_requests_have_no_responses(backend: Backend) -> None:
    assert list(backend.generate([])) == []


def test_weights_that_nobody_has_are_an_error_that_names_them(backend: Backend) -> None:
    (question, *_) = asked()
    with pytest.raises(BackendError, match="nobody"):
        list(backend.generate([Request("row", question.messages, "nobody", question.sampling)]))


def test_prompts_have_a_length_and_the_engine_a_limit(backend: Backend) -> None:
    short, long = (backend.prompt_tokens(request) for request in (asked()[0], asked()[3]))
    assert 0 < short < long <= backend.max_length()


def test_it_is_closed_twice_and_answers_again(backend: Backend) -> None:
    before = by_id(backend.generate(asked()))
    backend.close()
    backend.close()
    after = by_id(backend.generate(asked()))
    assert {id_: response.text for id_, response in before.items()} == {id_: r.text for id_, r in after.items()}
