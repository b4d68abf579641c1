"""From the JSON of many services to a response."""

from typing import Any

import pytest

from semievol.backends.service.answers import read_answer
from semievol.backends.service.failures import Failure, of_status
from semievol.records import Message, Request, Response

REQUEST = Request("a", (Message(role="user", content="rain and snow"),), "base")


def completion(text: str | None, tokens: Any, finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": text, **message}, "finish_reason": finish, "logprobs": tokens}
    return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}


def listed(*tokens: str) -> dict[str, Any]:
    """Tokens as OpenAI lists them; the first has -1, the next -2, and so on."""
    return {"content": [{"token": text, "logprob": -float(i)} for i, text in enumerate(tokens, 1)]}


def logprobs(text: str, tokens: Any) -> tuple[float, ...] | None:
    found = read_answer(REQUEST, completion(text, tokens))
    assert isinstance(found, Response)
    return found.logprobs


def test_each_token_of_the_text_has_its_log_probability() -> None:
    assert logprobs("rain and", listed("rain", " and")) == (-1, -2)


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>", ""])
def test_the_end_of_the_turn_does_not_count(end: str) -> None:
    assert logprobs("rain and", listed("rain", " and", end)) == (-1, -2)
    assert logprobs("rain", listed("rain", "\n", end)) == (-1,)


def test_a_thought_before_the_answer_does_not_count() -> None:
    assert logprobs("rain", listed("hm", ", snow?", "</think>", "rain", "<|im_end|>")) == (-4,)


def test_a_token_with_a_space_before_it_counts() -> None:
    assert logprobs("rain", listed(" rain", "</s>")) == (-1,)


def test_tokens_that_are_written_otherwise_all_count() -> None:
    assert logprobs("rain and", listed("▁rain", "▁and")) == (-1, -2)


def test_characters_of_several_tokens_are_put_together_from_their_bytes() -> None:
    parts = [{"token": "?", "bytes": [0xC3], "logprob": -1.0}, {"token": "?", "bytes": [0xA9], "logprob": -2.0}]
    assert logprobs("é", {"content": parts}) == (-1, -2)


def test_the_older_two_lists_are_read_too() -> None:
    assert logprobs("rain", {"tokens": ["rain", "</s>"], "token_logprobs": [-1.0, -2.0]}) == (-1,)


@pytest.mark.parametrize("tokens", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "rain"}]}])
def test_what_is_not_there_is_none(tokens: Any) -> None:
    assert logprobs("rain", tokens) is None


def test_an_empty_answer_has_no_h() -> None:
    found = read_answer(REQUEST, completion("", {"content": []}))
    assert isinstance(found, Response)
    assert (found.text, found.finish, found.mean_nll) == ("", "stop", None)


def test_an_answer_of_nothing_but_thoughts_says_what_to_do() -> None:
    content = completion("", None, "length")
    content["usage"]["completion_tokens_details"] = {"reasoning_tokens": 16}
    found = read_answer(REQUEST, content)
    assert isinstance(found, Failure)
    assert (found.kind, found.reason) == (
        "row",
        "all 16 tokens went into reasoning; raise collaborate.max_tokens",
    )


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_a_response_was_cut_whatever_the_service_calls_it(reason: str) -> None:
    found = read_answer(REQUEST, completion("rain and", None, reason))
    assert isinstance(found, Response)
    assert found.finish == "length"


@pytest.mark.parametrize(("tokens", "finish"), [(15, "stop"), (16, "length")])
def test_a_response_without_a_reason_was_cut_if_it_is_as_long_as_it_may_be(tokens: int, finish: str) -> None:
    content = completion("rain and", None)
    content["choices"][0]["finish_reason"] = None
    content["usage"]["completion_tokens"] = tokens
    found = read_answer(REQUEST, content)
    assert isinstance(found, Response)
    assert found.finish == finish


@pytest.mark.parametrize("content", ["<html>", None, [], {}, {"choices": []}, {"error": {"message": "busy"}}])
def test_what_is_no_completion_is_asked_for_again(content: Any) -> None:
    found = read_answer(REQUEST, content)
    assert isinstance(found, Failure)
    assert found.kind == "again"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "30", "retry-after": "2"}, 0.03),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_a_service_names_its_wait_in_seconds_milliseconds_or_as_a_date(
    headers: dict[str, str], wait: float | None
) -> None:
    assert of_status(429, {"error": {"message": "slow down"}}, headers).wait == wait


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"message": "slow down"}, "overloaded"),
        (429, {"message": "pay", "code": "insufficient_quota"}, "all"),
        (401, {"message": "key"}, "all"),
        (500, {"message": "oops"}, "again"),
        (503, "busy", "overloaded"),
        (400, {"message": "This model's maximum context length is 4096 tokens"}, "row"),
        (400, {"message": "the request exceeds the available context size"}, "row"),
        (400, {"message": "filtered", "code": "content_filter"}, "row"),
        (422, {"message": "Input should be a valid integer"}, "refused"),
    ],
)
def test_a_status_says_for_whom_a_request_failed(status: int, error: Any, kind: str) -> None:
    assert of_status(status, {"error": error} if isinstance(error, dict) else error, {}).kind == kind
