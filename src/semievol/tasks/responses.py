"""What of a response is the answer: without thoughts, without an invented next example, out of its wrapping."""

import json
import re
from collections import deque
from collections.abc import Iterator

WRAPPED = 20
"""How many wrappings of a kind are looked at, from the last."""
INNER = 2000
"""Characters in a wrapping at most."""

_THOUGHT = re.compile(
    r"<(?P<close>/)?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)>"
    r"|\[(?P<close_mark>/)?THINK\]|(?P<end>◁/think▷|<\|end_of_thought\|>)|◁think▷|<\|begin_of_thought\|>",
    re.IGNORECASE,
)
_CHANNEL = "<|channel|>"
_FINAL = "<|channel|>final<|message|>"
"""Before what gpt-oss says to the person, and not to itself."""
_KEYS = r"(?:final_?answer|answer|label|category|class|choice|option|result|prediction|sentiment)"
_JSON = re.compile(
    rf"""(?P<quote>["']){_KEYS}(?P=quote)\s{{0,8}}:\s{{0,8}}\[?\s{{0,8}}"""
    r"""(?:"(?P<double>(?:[^"\\\n]|\\.)*+)"|'(?P<single>(?:[^'\\\n]|\\.)*+)'|(?P<bare>[-+\w.]++)(?=[\s,}\]]))""",
    re.IGNORECASE,
)
_TAG = re.compile(rf"<(?P<tag>{_KEYS})>(?P<inner>[^<]{{0,{INNER}}}+)</(?P=tag)>", re.IGNORECASE)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{")
_PLAIN = re.compile(r"\\(?:text|textbf|mathrm|mathbf|operatorname)\s{0,4}\{([^{}]*+)\}")
_HASHED = re.compile(r"^[ \t]*+#{3,6}[ \t]*+(?!#)(\S[^\n]*+)$", re.MULTILINE)


def without_thoughts(text: str) -> str:
    """What is said outside of `<think>...</think>` and its kin.

    A closing mark without an opening one ends a thought that the prompt has opened; a thought that is not closed goes
    on to the end.
    """
    text = text.rpartition(_FINAL)[2] if _FINAL in text else text.partition(_CHANNEL)[0]
    spoken: list[str] = []
    at, thinking = 0, False
    for mark in _THOUGHT.finditer(text):
        closes = mark["close"] or mark["close_mark"] or mark["end"]
        if closes and not thinking:
            spoken.clear()
        elif not closes and not thinking:
            spoken.append(text[at : mark.start()])
        thinking = not closes
        at = mark.end()
    if not thinking:
        spoken.append(text[at:])
    return "".join(spoken)


def before_next(text: str, headings: re.Pattern[str]) -> str:
    """What stands before the first heading that has something before it."""
    for heading in headings.finditer(text):
        if before := text[: heading.start()].strip():
            return before
    return text


def unwrapped(text: str, hashed: bool = True) -> Iterator[str]:
    r"""What is wrapped in the text as an answer: in `\boxed{}`, in tags, in JSON, or behind `####`; the last first.

    Args:
        hashed: whether `#### B` is an answer; in prose it is a title.
    """
    for match in _last(_BOXED, text):
        if (inner := _in_braces(text, match.end())) is not None:
            yield _PLAIN.sub(r"\1", inner).strip()
    for match in _last(_TAG, text):
        yield match["inner"].strip()
    for match in _last(_JSON, text):
        yield _in_json(match)
    if hashed:
        for match in _last(_HASHED, text):
            yield match[1].strip()


def _last(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    return reversed(deque(pattern.finditer(text), maxlen=WRAPPED))


def _in_braces(text: str, at: int) -> str | None:
    """What stands up to the brace that closes the one before `at`; `None` if it is not closed."""
    depth = 1
    for end in range(at, min(len(text), at + INNER)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if not depth:
            return text[at:end]
    return None


def _in_json(match: re.Match[str]) -> str:
    if match["bare"] is not None:
        return match["bare"]
    if match["single"] is not None:
        return match["single"].replace("\\'", "'")
    try:
        return str(json.loads(f'"{match["double"]}"'))
    except json.JSONDecodeError:
        return match["double"]
