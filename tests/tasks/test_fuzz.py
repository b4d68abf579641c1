"""Texts as no model should write them: no exception, and no text that takes long."""

import contextlib
import random

import pytest
from tests.clock import is_linear

from semievol.config import TaskConfig
from semievol.data.cells import options
from semievol.data.chats import chat_items, items
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks import open_task

PIECES = (
    *"ABCD ab1,.0-−/\\$%{}[]()<>\"'`*_#:=\n\t：，。",
    "Answer:", "answer is", "答案：", "The answer is", "Question:", "\n\nQuestion:", "Text:", "</think>", "<think>",
    "\\boxed{", "\\frac{1}{2}", "####", "<answer>", "</answer>", '{"answer": ', '"label": "', "not ", "isn't ",
    "neither", "positive", "negative", "yes", "no", "A*", "1,234", "1 000", "12,5", "1/2", "1e99", "10^",
    "×10^{5}", " million",
    "k", "万", "\ud83d", "\u200b", "\x00", "\u0661", "²", "array([", ", dtype=object", "None", "None, ",
)  # fmt: skip
OPTIONS = ("zinc", "lead", "A", "1")
TASKS = {
    "multiple_choice": open_task(TaskConfig(kind="multiple_choice"), ()),
    "label": open_task(TaskConfig(kind="label", labels=("positive", "negative", "A*", "A", "-1", "1", "no")), ()),
    "number": open_task(TaskConfig(kind="number"), ()),
    "number, comma": open_task(TaskConfig(kind="number", decimal_mark="comma"), ()),
    "number, worked": open_task(TaskConfig(kind="number", answer_pattern="#### (.+)"), ()),
    "free_text": open_task(TaskConfig(kind="free_text", match="token_f1"), ()),
}
LONG = 8_000
"""Repetitions of a piece: what takes the square of its length takes too long then."""


@pytest.mark.parametrize("kind", TASKS)
def test_no_text_is_too_odd_to_be_read(kind: str) -> None:
    task, rng = TASKS[kind], random.Random(kind)
    row = Example(id="1", prompt="Which?", options=OPTIONS)
    for _ in range(4000):
        text = "".join(rng.choices(PIECES, k=rng.randint(0, 12)))
        answer = task.parse(text, row)
        assert answer is None or task.equal(answer, answer), text
        answer = task.parse_cut(text, row)
        assert answer is None or task.equal(answer, answer), text


@pytest.mark.parametrize("kind", TASKS)
def test_no_text_takes_long(kind: str) -> None:
    row = Example(id="1", prompt="Which?", options=OPTIONS)
    for piece in (*PIECES, "1 111", ",111", " 1/", "(B", "A, ", "**", "A and ", "{{", '"answer": "\\'):
        for read in (TASKS[kind].parse, TASKS[kind].parse_cut):
            assert is_linear(lambda size, read=read, piece=piece: read(piece * size + "x", row), LONG), piece


@pytest.mark.parametrize("read", [options, items, chat_items])
def test_no_cell_takes_long(read) -> None:
    for piece in PIECES:
        for opening, closing in (
            ("[", "]"),
            ("array(", ")"),
            ("array([", "x"),
            ("[{'role': 'user', 'content': '", "'}]"),
        ):

            def refused_or_read(size: int, opening=opening, piece=piece, closing=closing) -> None:
                with contextlib.suppress(DataError):
                    read(opening + piece * size + closing)

            assert is_linear(refused_or_read, LONG), (opening, piece)
