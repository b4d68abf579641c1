"""From a chat completion, as services send it, to a response."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from semievol.backends.service.failures import NO_ANSWER, Failure
from semievol.errors import whole_characters
from semievol.records import Request, Response, before_stop

CHARACTERS_PER_TOKEN = 4
"""Bytes of UTF-8 in a token, about; services count tokens, and their tokenizers are their own."""

CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
"""What services call the end of a response that was cut."""
MOST_EXTRA = 3
"""Tokens after the text: the end of the turn, and white space before it."""
MOST_CHARACTERS = 100
"""An answer with more of them for each token that it may have, and for each of a thousand, is none."""
MOST_TOKENS = 2**40
"""A count that is higher, or no number, is none."""
MOST_NATS = 1e300
"""The same of a log-probability; `possible` says which of the others can be one."""


def estimated_tokens(request: Request) -> int:
    """About how many tokens the request's prompt has, its given response included."""
    size = sum(len(message["content"].encode()) for message in request.messages)
    size += len((request.response or "").encode())
    return math.ceil(size / CHARACTERS_PER_TOKEN) + 4 * len(request.messages)


def read_answer(request: Request, content: object) -> Response | Failure:
    """The response in the JSON of a chat completion, or why it holds none, whatever it holds instead."""
    try:
        return _read(request, content)
    except NO_ANSWER as error:
        return Failure("again", f"the answer cannot be read: {type(error).__name__}: {error}"[:300])


def _read(request: Request, content: object) -> Response | Failure:
    if not isinstance(content, Mapping):
        return Failure("again", f"the answer is no JSON object: {str(content)[:100]!r}")
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        error = content.get("error")
        return Failure("again", f"the answer has no choices{f': {error}' if error else ''}"[:300])
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    if refused := message.get("refusal"):
        return Failure("row", f"the model refused: {str(refused)[:200]}")
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        return Failure("row", "the service's content filter withheld the answer")
    usage = content.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    text = whole_characters(_text(message.get("content")))
    if len(text) > MOST_CHARACTERS * max(request.sampling.max_tokens, 1_000):
        return Failure("again", f"the answer has {len(text):,} characters, of {request.sampling.max_tokens} tokens")
    is_cut = _was_cut(reason, usage, request.sampling.max_tokens)
    if not text.strip() and is_cut and _reasoning_tokens(usage):
        why = f"all {request.sampling.max_tokens} tokens went into reasoning; raise collaborate.max_tokens"
        return Failure("row", why)
    if (before := before_stop(text, request.sampling.stop)) is not None:
        text, is_cut = before, False
    text = text.strip()
    logprobs = _logprobs(choice.get("logprobs"), text)
    return Response(
        id=request.id,
        text=text,
        logprobs=logprobs,
        finish="length" if is_cut else "stop",
        prompt_tokens=_count(usage, "prompt_tokens", estimated_tokens(request)),
        completion_tokens=_count(usage, "completion_tokens", len(logprobs or ())),
    )


def _text(content: object) -> str:
    """The text of a message, which some services send in parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _was_cut(reason: object, usage: Mapping[str, Any], most: int) -> bool:
    """Whether a response ended for its length; if the service does not say, whether it is as long as it may be."""
    if isinstance(reason, str) and reason:
        return reason.lower() in CUT
    return _count(usage, "completion_tokens", 0) >= most


def _count(usage: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = usage.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_TOKENS:
        return otherwise
    return value


def _reasoning_tokens(usage: Mapping[str, Any]) -> int:
    details = usage.get("completion_tokens_details")
    return _count(details, "reasoning_tokens", 0) if isinstance(details, Mapping) else 0


def _logprobs(content: object, text: str) -> tuple[float, ...] | None:
    """The log-probability of each token of `text`, which is stripped; `None` if the service gives none."""
    if not isinstance(content, Mapping):
        return None
    tokens = _tokens(content)
    if tokens is None or (text and not tokens):
        return None
    return tuple(logprob for _, logprob in _of_text(tokens, text.encode()))


def _of_text(tokens: list[tuple[bytes, float]], text: bytes) -> list[tuple[bytes, float]]:
    """The tokens that make up `text`.

    Services differ in what they list besides: the end-of-turn token (vLLM) after it, a thought before it. Tokens that
    cannot be matched with the text, as those of a tokenizer that writes spaces in its own way, are all taken.
    """
    for extra in range(min(MOST_EXTRA, len(tokens)) + 1):
        kept = tokens[: len(tokens) - extra]
        said_bytes = b"".join(token for token, _ in kept).rstrip()
        if said_bytes.endswith(text):
            before = len(said_bytes) - len(text)
            while kept and not kept[-1][0].strip():  # the end of the turn is blank where services leave out its name
                kept.pop()
            while kept and len(kept[0][0]) <= before:
                before -= len(kept.pop(0)[0])
            return kept
    return _beginning(tokens, text) or [(token, logprob) for token, logprob in tokens if token]


def _beginning(tokens: list[tuple[bytes, float]], text: bytes) -> list[tuple[bytes, float]]:
    """The tokens up to the end of a text that they begin with; none if they do not."""
    text_bytes = b""
    for count, (token, _) in enumerate(tokens, start=1):
        text_bytes += token
        if text_bytes.lstrip().startswith(text):
            return [pair for pair in tokens[:count] if pair[0]]
    return []


def _tokens(raw: Mapping[str, Any]) -> list[tuple[bytes, float]] | None:
    """Each token's bytes and log-probability, from OpenAI's list of objects or the older two lists."""
    content = raw.get("content")
    if isinstance(content, list):
        tokens = [_token(entry) for entry in content]
        return None if None in tokens else [token for token in tokens if token is not None]
    texts, values = raw.get("tokens"), raw.get("token_logprobs")
    if isinstance(texts, list) and isinstance(values, list) and len(texts) == len(values):
        return _paired(texts, values)
    return None


def _token(entry: object) -> tuple[bytes, float] | None:
    if not isinstance(entry, Mapping):
        return None
    raw, logprob = entry.get("bytes"), _number(entry.get("logprob"))
    text = _encoded(entry.get("token", ""))
    if isinstance(raw, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw):
        text = bytes(raw)
    return None if logprob is None else (text, logprob)


def _paired(texts: Sequence[Any], values: Sequence[Any]) -> list[tuple[bytes, float]] | None:
    logprobs = [logprob for value in values if (logprob := _number(value)) is not None]
    if len(logprobs) < len(values):
        return None
    return [(_encoded(text), logprob) for text, logprob in zip(texts, logprobs, strict=True)]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MOST_NATS:
        return None
    return float(value)


def _encoded(token: object) -> bytes:
    return str(token).encode(errors="replace")
