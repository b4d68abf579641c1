"""The rows that `semievol predict` is given: each is answered, or says why it cannot be."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semievol.config import Config
from semievol.data.cells import text
from semievol.data.draw import Ranks
from semievol.data.files import open_file
from semievol.data.layouts import layout_of
from semievol.data.prompt_form import is_template
from semievol.data.sources import resolve
from semievol.data.splits import Split, dialect_of
from semievol.data.table import Row, Table
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks import Task


@dataclass(frozen=True, slots=True)
class Input:
    """One row."""

    cells: Mapping[str, Any]
    """What the user's columns hold."""
    id: str
    """That of `data.columns.id`, or `input-N` counted from 0."""
    example: Example | None
    """`None` if the row holds no question."""
    error: str | None = None
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All rows, in the order of their source."""

    columns: tuple[str, ...]
    rows: tuple[Input, ...]


def read_inputs(config: Config, task: Task, layout: str, source: str | list[str]) -> Inputs:
    """The rows of a file or of standard input, laid out as the run's data is, or prompts.

    Args:
        layout: what `data.layout` came to in the run.
        source: as in `data.unlabeled`; `-` is standard input, JSON Lines or a prompt a line; a list is of texts, each a
            whole prompt.

    Raises:
        DataError: the source cannot be read, has no rows, or has no column for the prompt.
    """
    if isinstance(source, list):
        return _prompts(config, task, source, "prompts")
    if source != "-":
        return _inputs(config, task, layout, resolve("--input", source).open(dialect=dialect_of(config.data)))
    lines = [line for line in sys.stdin.read().split("\n") if line.strip()]
    if not lines:
        raise DataError("standard input: no prompts")
    if not lines[0].lstrip().startswith("{"):
        return _prompts(config, task, lines, "standard input")
    return _lines(config, task, layout, lines, "standard input")


def _prompts(config: Config, task: Task, texts: Sequence[str], name: str) -> Inputs:
    """Texts that are each a whole prompt, in the prompt's column; `prompt` if it is made of several."""
    configured = config.data.columns.prompt
    column = configured if isinstance(configured, str) and not is_template(configured) else "prompt"
    columns = config.data.columns.model_copy(update={"prompt": column})
    plain = config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})
    return _lines(plain, task, "columns", [json.dumps({column: text}) for text in texts], name)


def _lines(config: Config, task: Task, layout: str, lines: Sequence[str], name: str) -> Inputs:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "rows.jsonl")
        path.write_text("\n".join(lines), encoding="utf-8")
        return _inputs(config, task, layout, open_file(path, name))


def _inputs(config: Config, task: Task, layout: str, table: Table) -> Inputs:
    table = replace(table, columns=table.every_column(), scan=None)
    columns = config.data.columns
    present = columns.model_copy(update={"category": None, "id": columns.id if columns.id in table.columns else None})
    data = config.data.model_copy(update={"columns": present, "layout": layout})
    split = Split("unlabeled", table, layout_of(data, table), Ranks(), data, config.seed)
    rows = tuple(_rows(split, task))
    if not rows:
        raise DataError(f"{table.name}: has no rows")
    return Inputs(table.columns, rows)


def _rows(split: Split, task: Task) -> Iterator[Input]:
    needed_columns = split.wanted(None)
    for number, row in enumerate(split.table.rows(set(split.table.columns))):
        unnamed = f"input-{number}"
        try:
            read = replace(row, cells={column: cell for column, cell in row.cells.items() if column in needed_columns})
            example = task.normalize(split.example(read, unnamed))
            yield Input(row.cells, example.id, replace(example, id=f"{number}"))
        except DataError as error:
            yield Input(row.cells, _named(split, row) or unnamed, None, str(error))


def _named(split: Split, row: Row) -> str | None:
    """The id of a row that holds no question."""
    column = split.config.columns.id
    with suppress(DataError):
        return text(row.cells.get(column)).strip() if column is not None else None
    return None
