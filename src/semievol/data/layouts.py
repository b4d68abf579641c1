"""How a row is laid out: where its prompt stands, and where its answer.

The two are read by two functions, so that reading a prompt cannot read the answer, even of a chat that holds both
in one cell.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from semievol.config import DataConfig
from semievol.data.cells import text, turns
from semievol.data.table import Cells, Table
from semievol.errors import ConfigError, DataError
from semievol.records import Message


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a row stand."""

    name: str
    prompt_columns: tuple[str, ...]
    """Without these there is no prompt; the first names the part in messages."""
    answer_column: str
    """One of the prompt's columns where a chat holds both."""
    prompt: Callable[[Cells], tuple[tuple[Message, ...], str]]
    """Cells -> the earlier turns and the prompt."""
    answer: Callable[[Cells], str]
    """Cells -> the raw answer, empty where there is none."""
    optional_columns: tuple[str, ...] = ()
    answer_option: str = "the answer of data.layout"
    """What asks for the answer's column, for messages."""

    def with_answer(self, column: str) -> "Layout":
        """The layout with its answer in the column that `evaluate.unlabeled_answers` names."""
        if column == self.answer_column:
            return self
        return replace(
            self,
            answer_column=column,
            answer=lambda cells: _named(column, cells.get(column)),
            answer_option="evaluate.unlabeled_answers",
        )


def layout_of(config: DataConfig, labeled: Table) -> Layout:
    """The layout that the config names or, under `auto`, that the labeled source's columns show.

    All sources have it, so that the unlabeled source's answer column, there or not, decides nothing.

    Raises:
        ConfigError: the answer column is at once another column.
    """
    name = _recognized(config, frozenset(labeled.columns)) if config.layout == "auto" else config.layout
    layout = _columns(config) if name == "columns" else _FIXED[name]
    also = {"prompt": layout.prompt_columns, "id": (config.columns.id,), "options": (config.columns.options,)}
    also["category"] = (config.columns.category,)
    for part, columns in also.items():
        if layout.answer_column in columns and (part != "prompt" or name == "columns"):
            raise ConfigError(
                f"data.columns.{part}: {layout.answer_column!r} is the answer column, which is not read from the "
                "unlabeled source; name another column"
            )
    return layout


def _recognized(config: DataConfig, columns: frozenset[str]) -> str:
    if {config.columns.prompt, config.columns.answer} <= columns:
        return "columns"
    for name, marks in _MARKS.items():
        if marks <= columns:
            return name
    return "columns"


def _columns(config: DataConfig) -> Layout:
    prompt, answer = config.columns.prompt, config.columns.answer
    return Layout(
        name="columns",
        prompt_columns=(prompt,),
        answer_column=answer,
        prompt=lambda cells: ((), _named(prompt, cells.get(prompt))),
        answer=lambda cells: _named(answer, cells.get(answer)),
        answer_option="data.columns.answer",
    )


def _named(column: str, value: Any) -> str:
    try:
        return text(value)
    except DataError as error:
        raise DataError(f"{column!r} {error}") from error


def _question(chat: list[Message]) -> tuple[tuple[Message, ...], str]:
    if not chat or chat[-1]["role"] != "user":
        ends = f"ends with a turn of the {chat[-1]['role']}" if chat else "is empty"
        raise DataError(f"the chat {ends}; a user's turn is expected before the answer")
    return tuple(chat[:-1]), chat[-1]["content"]


def _chat_prompt(chat: list[Message]) -> tuple[tuple[Message, ...], str]:
    return _question(chat[:-1] if chat and chat[-1]["role"] == "assistant" else chat)


def _chat_answer(chat: list[Message]) -> str:
    return chat[-1]["content"] if chat and chat[-1]["role"] == "assistant" else ""


def _alpaca_prompt(cells: Cells) -> tuple[tuple[Message, ...], str]:
    instruction, given = _named("instruction", cells.get("instruction")), _named("input", cells.get("input"))
    return (), f"{instruction}\n\n{given}" if given.strip() else instruction


def _prompt_part(cells: Cells) -> tuple[tuple[Message, ...], str]:
    value = cells.get("prompt")
    return _question(turns(value)) if isinstance(value, list | tuple) else ((), _named("prompt", value))


def _completion_part(cells: Cells) -> str:
    value = cells.get("completion")
    if not isinstance(value, list | tuple):
        return _named("completion", value)
    chat = turns(value)
    if len(chat) > 1:
        raise DataError(f"the completion has {len(chat)} turns, and one is expected")
    return _chat_answer(chat)


_FIXED = {
    "messages": Layout(
        name="messages",
        prompt_columns=("messages",),
        answer_column="messages",
        prompt=lambda cells: _chat_prompt(turns(cells.get("messages"))),
        answer=lambda cells: _chat_answer(turns(cells.get("messages"))),
    ),
    "sharegpt": Layout(
        name="sharegpt",
        prompt_columns=("conversations",),
        answer_column="conversations",
        prompt=lambda cells: _chat_prompt(turns(cells.get("conversations"), "from", "value")),
        answer=lambda cells: _chat_answer(turns(cells.get("conversations"), "from", "value")),
    ),
    "prompt_completion": Layout(
        name="prompt_completion",
        prompt_columns=("prompt",),
        answer_column="completion",
        prompt=_prompt_part,
        answer=_completion_part,
    ),
    "alpaca": Layout(
        name="alpaca",
        prompt_columns=("instruction",),
        answer_column="output",
        prompt=_alpaca_prompt,
        answer=lambda cells: _named("output", cells.get("output")),
        optional_columns=("input",),
    ),
}

_MARKS = {
    "messages": {"messages"},
    "sharegpt": {"conversations"},
    "prompt_completion": {"prompt", "completion"},
    "alpaca": {"instruction", "output"},
}
"""The columns by which `auto` knows a layout, tried in this order."""
