"""Files of rows: CSV, TSV, Orange `.tab`, JSON Lines, JSON, Parquet, Arrow, each also compressed, and workbooks."""

import itertools
import json
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from semievol.data.columnar import arrow, parquet
from semievol.data.delimited import USUAL, Dialect, delimited
from semievol.data.streams import COMPRESSED, lines
from semievol.data.table import Row, Table
from semievol.data.workbook import KINDS as WORKBOOKS
from semievol.data.workbook import split_sheet, workbook
from semievol.errors import DataError

MOST_OF_A_TEXT = 2**30
"""Characters of a file that is one JSON text."""
_KEYS_FROM = 100
"""JSON Lines whose keys make up the columns at first: the rest are read only for a column that is not among them."""


def kind_of(path: Path) -> str:
    """The suffix of a file's format, without that of a compression and without the name of a sheet."""
    name = PurePath(split_sheet(str(path))[0]).name.lower()
    for packed in COMPRESSED:
        name = name.removesuffix(packed)
    return PurePath(name).suffix


def open_file(path: Path, name: str, dialect: Dialect = USUAL) -> Table:
    """The table in a file, its format told by its suffix.

    Raises:
        DataError: the file is no such file, cannot be read, or is empty.
    """
    kind = kind_of(path)
    if kind not in _READERS:
        raise DataError(
            f"{name}: unknown kind of file; known are {', '.join(_READERS)}, each also with {', '.join(COMPRESSED)}"
        )
    return _READERS[kind](path, name, dialect)


def _json_lines(path: Path, name: str) -> Table:
    def objects() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(lines(path, name), start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{name} line {number}: not JSON: {_fault(error)}") from error
            if not isinstance(value, dict):
                raise DataError(f"{name} line {number}: {type(value).__name__} where an object is expected")
            yield number, value

    def rows(names: Collection[str]) -> Iterator[Row]:
        for index, (line, value) in enumerate(objects()):
            yield Row(index, {key: cell for key, cell in value.items() if key in names}, line)

    def keys(limit: int | None = None) -> tuple[str, ...]:
        return _keys(name, (value for _, value in itertools.islice(objects(), limit)))

    return Table(name, keys(_KEYS_FROM), rows, scan=keys)


def _json(path: Path, name: str) -> Table:
    text = _whole_text(path, name)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; JSON Lines files are called .jsonl" if error.msg == "Extra data" else ""
        where = f"{name} line {error.lineno}"
        raise DataError(f"{where}: not JSON: {_fault(error)}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON: {_fault(error)}") from error
    objects = value.get("data") if isinstance(value, dict) else value
    if not isinstance(objects, list):
        raise DataError(f'{name}: a list of objects is expected, or {{"data": [...]}}')
    for index, object_ in enumerate(objects):
        if not isinstance(object_, dict):
            raise DataError(f"{name} row {index + 1}: {type(object_).__name__} where an object is expected")

    def rows(names: Collection[str]) -> Iterator[Row]:
        for index, object_ in enumerate(objects):
            yield Row(index, {key: cell for key, cell in object_.items() if key in names})

    return Table(name, _keys(name, iter(objects)), rows)


def _whole_text(path: Path, name: str) -> str:
    """What has to lie in memory at once."""
    parts, size = [], 0
    for line in lines(path, name):
        parts.append(line)
        size += len(line)
        if size > MOST_OF_A_TEXT:
            raise DataError(f"{name}: more than {MOST_OF_A_TEXT // 2**20} MB in one JSON text; make it JSON Lines")
    return "".join(parts)


def _fault(error: ValueError | RecursionError) -> str:
    """What is wrong with a text that should be JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"


def _keys(name: str, objects: Iterator[dict[str, Any]]) -> tuple[str, ...]:
    keys = dict.fromkeys(key for value in objects for key in value)
    if not keys:
        raise DataError(f"{name}: is empty")
    return tuple(keys)


_READERS: dict[str, Callable[[Path, str, Dialect], Table]] = {
    ".csv": partial(delimited, usual=","),
    ".tsv": partial(delimited, usual="\t"),
    ".tab": partial(delimited, usual="\t", orange=True),
    ".jsonl": lambda path, name, _: _json_lines(path, name),
    ".ndjson": lambda path, name, _: _json_lines(path, name),
    ".json": lambda path, name, _: _json(path, name),
    ".parquet": lambda path, name, _: parquet(path, name),
    ".arrow": lambda path, name, _: arrow(path, name),
    ".feather": lambda path, name, _: arrow(path, name),
    **dict.fromkeys(WORKBOOKS, lambda path, name, _: workbook(path, name)),
}

KINDS = tuple(_READERS)
"""The suffixes of files of rows, without those of a compression."""
