"""How H of a pseudo-response is had."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semievol.backends.fake import FakeBackend
from semievol.config import Config, build
from semievol.progress import Reporter
from semievol.records import Candidate, Example, FinalAnswer, Request, Response
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.journal import Journal
from semievol.stages.answerer import Answerer
from semievol.stages.confidence import Confidence, measure
from semievol.stages.round import Round
from semievol.tasks import open_task

EXAMPLE = Example("a", "rain and snow")


class Engine(FakeBackend):
    """Says the same to every request, and remembers what it was asked."""

    def __init__(self, config: Config, said: Response, scores: bool) -> None:
        super().__init__(config, {})
        self._said, self.scores = said, scores
        self.asked: list[Request] = []

    def generate(self, requests: Sequence[Request], *others: Any) -> Iterator[Response]:
        for request in requests:
            self.asked.append(request)
            yield replace(self._said, id=request.id)


def measured(
    said: Response, candidates: Sequence[Candidate], scores: bool = False, **sections: Any
) -> tuple[Confidence, list[Request]]:
    """H of the pseudo-response `weather`, if the engine says `said`, and what the engine was asked."""
    config = build({"task": {"labels": ["weather", "sport"]}, "collaborate": {"max_tokens": 16}, **sections})
    engine = Engine(config, said, scores)
    answerer = Answerer(config, [], {}, Reporter())
    answerer.backend = engine
    task = open_task(config.task, [])
    final = FinalAnswer("a", "weather", "weather", "majority", 0.5, None, None, None, None, tuple(candidates), None)
    with tempfile.TemporaryDirectory() as scratch:
        round_ = Round(config, RunFolder(scratch), task, [], [EXAMPLE], answerer, Reporter())
        confidences, _ = measure(round_, [(EXAMPLE, final)], Journal(Path(scratch, "part-00000.jsonl")))
    return confidences["a"], engine.asked


def candidate(name: str, text: str, h: float | None = 0.25) -> Candidate:
    return Candidate(name, text, text, h, ())


def response(text: str, logprobs: tuple[float, ...] | None = (-0.5,)) -> Response:
    return Response("x", text, logprobs, "stop", 3, 1)


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("name", ["warm+0", "warm+0#2"])
def test_what_the_warm_model_said_to_the_plain_prompt_needs_no_request(name: str, scores: bool) -> None:
    found, asked = measured(response("?"), [candidate(name, "weather")], scores)
    assert (found, asked) == (Confidence(0.25, "collaborator"), [])


def test_without_a_warm_up_it_is_the_base_model_whose_word_counts() -> None:
    found, _ = measured(response("?"), [candidate("base+0", "weather")], warmup={"enabled": False})
    assert found == Confidence(0.25, "collaborator")


@pytest.mark.parametrize(
    "other",
    [candidate("base+0", "weather"), candidate("warm+1", "weather"), candidate("warm+0", "Weather")],
)
def test_other_weights_prompts_and_texts_do_not_count(other: Candidate) -> None:
    found, asked = measured(response("weather"), [other], scores=True)
    assert found == Confidence(0.5, "scored")
    assert [(request.weights, request.response) for request in asked] == [("warm", "weather")]


def test_a_service_that_cannot_score_is_asked_the_plain_prompt_greedily() -> None:
    found, asked = measured(response("weather"), [candidate("warm+1", "weather")])
    assert found == Confidence(0.5, "asked")
    (request,) = asked
    assert (request.weights, request.response, request.sampling.temperature) == ("warm", None, 0.0)


def test_h_is_unknown_where_the_service_then_says_something_else() -> None:
    found, _ = measured(response("sport"), [candidate("warm+1", "weather")])
    assert found.mean_nll is None
    assert found.origin.startswith("unknown: the model says something else")


def test_a_service_without_log_probabilities_is_not_asked_in_vain() -> None:
    found, asked = measured(response("weather", None), [candidate("warm+1", "weather", None)])
    assert (found.mean_nll, asked) == (None, [])
    assert found.origin == "unknown: the engine gave no log-probabilities"


def test_a_request_that_failed_says_why_h_is_unknown() -> None:
    failed = Response("x", "", None, "error", 0, 0, "503: overloaded")
    found, _ = measured(failed, [candidate("warm+1", "weather")], scores=True)
    assert found == Confidence(None, "unknown: the request failed: 503: overloaded")
