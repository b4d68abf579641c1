"""Text of the user in Markdown: it is read as text and stays where it is put."""

import re

from semievol.terminal import visible

_MARKS = re.compile(r"[\\`*_\[\]<>|]")


def plain(value: object) -> str:
    """One line of text whose characters mean nothing in Markdown; it also stays in the cell of a table."""
    return _MARKS.sub(r"\\\g<0>", visible(" ".join(str(value).split())))


def code(value: object) -> str:
    """A code span of one line, whatever backticks are in it."""
    text = visible(" ".join(str(value).split()))
    ticks = "`" * (_longest(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str) -> str:
    """A fenced code block that no line of the text closes."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"


def _longest(text: str) -> int:
    """The length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)
