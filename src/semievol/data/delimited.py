"""Tables with a separator between cells: CSV, TSV, and Orange's `.tab`."""

import csv
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semievol.data.streams import lines
from semievol.data.table import Row, Table, require_once
from semievol.errors import DataError

_CELL_LIMIT = 2**31 - 1
"""Characters in one CSV cell; the csv module's own limit of 131072 is less than a long document, and a C long
on Windows holds no more than this."""
_ORANGE_ROLES = {"", "class", "c", "meta", "m", "ignore", "i", "weight", "w", "continuous", "discrete"}
_SEPARATORS = ";\t|"
"""Those that are looked for if a line has no comma."""
_TRIED = 20
"""Records that must agree on another separator."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are told apart, as far as the user says so."""

    separator: str | None = None
    """`None`: what the file's suffix or its first line says, or what its first lines agree on."""
    quotes: bool | None = None
    """Whether a cell may be quoted; `None`: it may, but in a table of tabs no quoted cell may look like rows."""


USUAL = Dialect()
"""Nothing is said."""


def delimited(path: Path, name: str, dialect: Dialect, *, usual: Literal[",", "\t"], orange: bool = False) -> Table:
    """The table in a file.

    Args:
        usual: the separator that the suffix stands for.
    """
    before, separator = _separator(path, name, dialect, usual)
    records = _Records(path, name, separator, dialect.quotes, before)
    header = list(itertools.islice(records.read(), 3 if orange else 1))
    if not header or not header[0][1]:
        where = f"line {1 + before} is blank; column names are expected"
        raise DataError(f"{name}: is empty" if not header else f"{name}: {where}")
    if orange:
        _check_orange(name, [record for _, record in header])
    columns = tuple(header[0][1])
    records.columns = len(columns)

    def rows(names: Collection[str]) -> Iterator[Row]:
        require_once(name, columns, names)
        positions = [(column, at) for at, column in enumerate(columns) if column in names]
        body = itertools.islice(records.read(), len(header), None)
        filled = ((line, record) for line, record in body if record)
        for index, (line, record) in enumerate(filled):
            if len(record) != len(columns):
                raise DataError(
                    f"{name} row {index + 1} (line {line}): {len(record)} cells under {len(columns)} column names"
                )
            yield Row(index, {column: record[at] for column, at in positions}, line)

    return Table(name, columns, rows)


class _Records:
    """The records of a file, read anew each time.

    Args:
        before: lines before the column names.
    """

    def __init__(self, path: Path, name: str, separator: str, quotes: bool | None, before: int) -> None:
        self._path, self._name, self._separator, self._quotes = path, name, separator, quotes
        self._before = before
        self.columns = 0
        """How many there are; 0 until it is known."""

    def read(self) -> Iterator[tuple[int, list[str]]]:
        """Each record with the line it starts on; a blank line is an empty record."""
        csv.field_size_limit(_CELL_LIMIT)
        head: list[str] = []
        reader = csv.reader(
            _remembered(itertools.islice(lines(self._path, self._name), self._before, None), head),
            delimiter=self._separator,
            quoting=csv.QUOTE_NONE if self._quotes is False else csv.QUOTE_MINIMAL,
            strict=True,
        )
        while True:
            start = self._before + reader.line_num + 1
            head.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                hint = "" if self._quotes is False else "; if quotation marks are text there, set data.quotes to false"
                raise DataError(
                    f"{self._name} line {start}: the record that starts here is malformed: {error}{hint}"
                ) from error
            if len(head) > 1 and self._are_rows(head):
                raise DataError(
                    f"{self._name} line {start}: a cell that begins with a quotation mark goes on for {len(head)} "
                    "lines that look like rows; set data.quotes to false if marks are text there, else to true"
                )
            yield start, record

    def _are_rows(self, lines: list[str]) -> bool:
        """Whether the lines of one record of a table of tabs have a whole row's cells each."""
        return (
            self._quotes is None
            and self._separator == "\t"
            and self.columns > 1
            and all(line.count("\t") == self.columns - 1 for line in lines)
        )


def _remembered(stream: Iterator[str], lines: list[str]) -> Iterator[str]:
    for line in stream:
        lines.append(line)
        yield line


def _separator(path: Path, name: str, dialect: Dialect, usual: str) -> tuple[int, str]:
    """How many lines stand before the column names, and what stands between cells."""
    first = next(iter(lines(path, name)), "").rstrip("\r\n")
    separator = first[4:] if first.lower().startswith("sep=") and len(first) == 5 else None  # Excel's
    before = int(separator is not None)
    if dialect.separator is not None or separator is not None:
        return before, dialect.separator or separator or usual
    if usual == ",":
        for separator in filter(first.__contains__, _SEPARATORS):
            if _cells(path, name, ",", dialect.quotes)[:1] == [1] and _agree(
                _cells(path, name, separator, dialect.quotes)
            ):
                return 0, separator
    return 0, usual


def _agree(cells: list[int]) -> bool:
    """Whether records have as many cells as their header, and several."""
    return len(set(cells)) == 1 and cells[0] > 1


def _cells(path: Path, name: str, separator: str, quotes: bool | None) -> list[int]:
    """How many cells the first records have with a separator; none if they cannot be told apart."""
    records = _Records(path, name, separator, quotes, 0).read()
    try:
        return [len(record) for _, record in itertools.islice(records, _TRIED) if record]
    except DataError:
        return []


def _check_orange(name: str, header: list[list[str]]) -> None:
    """Refuses a plain TSV that is called `.tab`, whose first two rows would be lost as types and roles."""
    roles = header[2] if len(header) == 3 else ["?"]
    flags = [flag for cell in roles for flag in cell.split(" ") if "=" not in flag]
    if not set(flags) <= _ORANGE_ROLES:
        raise DataError(
            f"{name}: not an Orange .tab file, whose first three lines are names, types and roles; "
            "if it is a plain table, call it .tsv"
        )
