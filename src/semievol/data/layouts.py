"""How a row is laid out: where its prompt stands, and where its answer.

The two are read by two functions, so that reading a prompt cannot read the answer, even of a chat that holds both
in one cell.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from semievol.config import DataConfig
from semievol.config.options import Columns
from semievol.data import chats
from semievol.data.cells import shown, text_in
from semievol.data.choices import choice_columns
from semievol.data.literals import literal
from semievol.data.prompt_form import filled, is_template, prompt_columns
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
    """One of the prompt's columns if a chat holds both."""
    prompt: Callable[[Cells], tuple[tuple[Message, ...], str]]
    """Cells -> the earlier turns and the prompt."""
    answer: Callable[[Cells], str]
    """Cells -> the raw answer, empty if there is none."""
    optional_columns: tuple[str, ...] = ()
    answer_option: str = "the answer of data.layout"
    """What asks for the answer's column, for messages."""
    takes_lists: bool = False
    """Whether an answer may be a list of texts, of a task with several labels a row."""

    def raw_answer(self, cells: Cells) -> str:
        """The raw answer; a list of texts as JSON, where one may stand."""
        value = cells.get(self.answer_column)
        if self.takes_lists and isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
            return json.dumps(list(value), ensure_ascii=False)
        return self.answer(cells)

    def with_answer(self, column: str) -> "Layout":
        """The layout with its answer in the column that `evaluate.unlabeled_answers` names."""
        if column == self.answer_column:
            return self
        return replace(
            self,
            answer_column=column,
            answer=lambda cells: _answer_in(column, cells),
            answer_option="evaluate.unlabeled_answers",
        )


def layout_of(config: DataConfig, labeled: Table) -> Layout:
    """The layout that the config names or, under `auto`, that the labeled source's columns show.

    All sources have it, so that the unlabeled source's answer column, there or not, decides nothing.

    Raises:
        ConfigError: the answer column is at once another column, or a configured column is none of the layout's.
        DataError: a configured column is not there.
    """
    name = _recognized(config, frozenset(labeled.columns)) if config.layout == "auto" else config.layout
    layout = _columns(config) if name == "columns" else _FIXED[name]
    configured, read = _configured(config), (*layout.prompt_columns, layout.answer_column)
    for part, column in configured:
        if column not in read or config.layout == "auto":
            labeled.require(column, f"data.columns.{part}")
    for part, column in configured:
        if column not in read:
            raise ConfigError(
                f"data.columns.{part}: {column!r} is not read, because data.layout is {name}; set one of the two only"
            )
    also = {"prompt": layout.prompt_columns, "id": (config.columns.id,)}
    also["options"] = choice_columns(config.columns.options, labeled.columns)
    also["category"] = (config.columns.category,)
    for part, columns in also.items():
        if layout.answer_column in columns and (part != "prompt" or name == "columns"):
            raise ConfigError(
                f"data.columns.{part}: {layout.answer_column!r} is the answer column, which is not read from the "
                "unlabeled source; name another column"
            )
        if part != "prompt" and (clashing := set(columns) & set(layout.optional_columns)):
            raise ConfigError(
                f"data.columns.{part}: {clashing.pop()!r} is a part of the prompt, as data.layout is {name}"
            )
    return layout


def _recognized(config: DataConfig, columns: frozenset[str]) -> str:
    """The layout that the columns show; one that does not read what the user has named is none of theirs."""
    configured = {column for _, column in _configured(config)}
    if not configured and {*prompt_columns(config.columns.prompt), config.columns.answer} <= columns:
        return "columns"
    for name, marks in _MARKS.items():
        if marks <= columns and configured <= {*_FIXED[name].prompt_columns, _FIXED[name].answer_column}:
            return name
    return "columns"


def _configured(config: DataConfig) -> list[tuple[str, str]]:
    """What the user has named otherwise than it is called by default: `prompt` or `answer`, and the column."""
    parts = {"prompt": prompt_columns(config.columns.prompt), "answer": (config.columns.answer,)}
    return [
        (part, column)
        for part, columns in parts.items()
        for column in columns
        if columns != (Columns.model_fields[part].default,)
    ]


def _columns(config: DataConfig) -> Layout:
    prompt, answer = config.columns.prompt, config.columns.answer
    columns = prompt_columns(prompt)
    is_cell = len(columns) == 1 and not is_template(prompt)
    return Layout(
        name="columns",
        prompt_columns=columns,
        answer_column=answer,
        prompt=lambda cells: _prompt_in(columns[0], cells) if is_cell else ((), filled(prompt, cells)),
        answer=lambda cells: _answer_in(answer, cells),
        answer_option="data.columns.answer",
    )


def _prompt_in(column: str, cells: Cells) -> tuple[tuple[Message, ...], str]:
    """The earlier turns and the prompt of a cell that holds a text or a chat."""
    turns = _chat_in(column, cells)
    return ((), text_in(column, cells.get(column))) if turns is None else chats.question(turns)


def _answer_in(column: str, cells: Cells) -> str:
    turns = _chat_in(column, cells)
    if turns is None:
        return text_in(column, cells.get(column))
    if len(turns) > 1:
        raise DataError(f"the {column} has {len(turns)} turns, and one is expected")
    return chats.answer(turns)


def _chat_in(column: str, cells: Cells) -> Sequence[Any] | None:
    try:
        return chats.chat_items(cells.get(column))
    except DataError as error:
        raise DataError(f"{column!r}: {error}") from error


def _text_in(column: str, cells: Cells) -> str:
    if _chat_in(column, cells) is not None:
        raise DataError(f"{column!r} holds a chat, and text is expected")
    return text_in(column, cells.get(column))


def _within(cells: Cells, context: tuple[Message, ...], prompt: str) -> tuple[tuple[Message, ...], str]:
    """The prompt with what stands in other columns: the system's text first, then the history."""
    for column in _UNSUPPORTED:
        if not _is_nothing(cells.get(column)):
            raise DataError(
                f"{column!r} is not empty, and only text can be asked about; leave the column or the row out"
            )
    context = (*_history(cells.get("history")), *context)
    system = text_in("system", cells.get("system"))
    if system.strip() and context and context[0]["role"] == "system":
        if context[0]["content"].strip() != system.strip():
            raise DataError("'system' holds another text than the system's turn in the chat; keep one of the two")
    elif system.strip():
        context = (Message(role="system", content=system), *context)
    return context, prompt


def _is_nothing(value: Any) -> bool:
    return value is None or str(value).strip() in _NOTHING


def _history(value: Any) -> tuple[Message, ...]:
    """The turns of pairs, each a question and its answer, or of a chat."""
    if _is_nothing(value):
        return ()
    try:
        turns = literal(value) if isinstance(value, str) else value
    except ValueError as error:
        raise DataError(f"'history' is {shown(value)}, which cannot be read; write a JSON list") from error
    pairs = [pair for pair in turns if isinstance(pair, list | tuple)] if isinstance(turns, list | tuple) else []
    if pairs and len(pairs) == len(turns) and all(len(pair) == 2 for pair in pairs):
        roles = ("user", "assistant")
        turns = [{"role": role, "content": text} for pair in pairs for role, text in zip(roles, pair, strict=True)]
    try:
        return chats.context(chats.items(turns))
    except DataError as error:
        raise DataError(f"'history': {error}") from error


def _alpaca_prompt(cells: Cells) -> tuple[tuple[Message, ...], str]:
    instruction, input_ = _text_in("instruction", cells), _text_in("input", cells)
    return _within(cells, (), f"{instruction}\n\n{input_}" if input_.strip() else instruction)


def _chat(name: str, column: str) -> Layout:
    return Layout(
        name=name,
        prompt_columns=(column,),
        answer_column=column,
        prompt=lambda cells: _within(cells, *chats.question(chats.items(cells.get(column)))),
        answer=lambda cells: chats.answer(chats.items(cells.get(column))),
        optional_columns=("system", *_UNSUPPORTED),
    )


_UNSUPPORTED = ("tools", "functions", "images", "videos", "audios")
"""Columns of what a prompt cannot hold; a row in which one is not empty is refused."""
_NOTHING = ("", "[]", "{}", "null", "None", "nan")

_FIXED = {
    "messages": _chat("messages", "messages"),
    "sharegpt": _chat("sharegpt", "conversations"),
    "prompt_completion": Layout(
        name="prompt_completion",
        prompt_columns=("prompt",),
        answer_column="completion",
        prompt=lambda cells: _within(cells, *_prompt_in("prompt", cells)),
        answer=lambda cells: _answer_in("completion", cells),
        optional_columns=("system", "history", *_UNSUPPORTED),
    ),
    "alpaca": Layout(
        name="alpaca",
        prompt_columns=("instruction",),
        answer_column="output",
        prompt=_alpaca_prompt,
        answer=lambda cells: _text_in("output", cells),
        optional_columns=("input", "system", "history", *_UNSUPPORTED),
    ),
}

_MARKS = {
    "messages": {"messages"},
    "sharegpt": {"conversations"},
    "prompt_completion": {"prompt", "completion"},
    "alpaca": {"instruction", "output"},
}
"""The columns by which `auto` knows a layout, tried in this order."""
