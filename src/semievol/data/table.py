"""Rows as they stand in a source, before anything is made of them."""

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from semievol.errors import DataError

Cells = Mapping[str, Any]
"""Column name -> what stands in it; a column that is missing in the row is missing here."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source."""

    index: int
    """Counts from 0, header and blank lines left out."""
    cells: Cells
    line: int | None = None
    """The line of the file where the row starts, from 1; `None` if the format has no lines."""
    part: str | None = None
    """The file that the row is of, if its source is several, and its number there: `part1.csv row 17`."""


@dataclass(frozen=True, slots=True)
class Table:
    """An opened source: its columns are known, its rows are read when they are asked for."""

    name: str
    """The source in the user's words, for messages."""
    columns: tuple[str, ...]
    rows: Callable[[Collection[str]], Iterator[Row]]
    """Reads from the start, with the wanted columns alone; an unwanted column is not even decoded if the
    format allows it."""
    scan: Callable[[], tuple[str, ...]] | None = None
    """Reads the whole source for its columns, if `columns` are those of its first rows; `None` if there can be
    no more."""
    parts: "tuple[Table, ...]" = ()
    """The files that are one source."""

    def every_column(self) -> tuple[str, ...]:
        """The columns, those too that a late row brings; may read the whole source."""
        return self.columns if self.scan is None else self.scan()

    def place(self, row: Row) -> str:
        """Where a row stands, as a person counts: `labeled.csv row 17 (line 21)`."""
        line = "" if row.line is None else f" (line {row.line})"
        return f"{row.part or f'{self.name} row {row.index + 1}'}{line}"

    def require(self, column: str, option: str) -> None:
        """Raises DataError if the column is not there.

        Raises:
            DataError: it is not; names the option that asked for it, the columns that are there and the nearest.
        """
        for part in self.parts:
            part.require(column, option)
        if column in self.columns or column in (columns := self.every_column()):
            return
        near = difflib.get_close_matches(column, columns, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        names = ", ".join(map(repr, columns))
        raise DataError(f"{self.name}: no column {column!r} ({option}); the columns are {names}.{hint}")


def require_once(name: str, columns: Sequence[str], wanted: Collection[str]) -> None:
    """Raises DataError if a column that is wanted stands in the source `name` more than once.

    Raises:
        DataError: one does.
    """
    for column in wanted:
        if (count := columns.count(column)) > 1:
            raise DataError(f"{name}: the column {column!r} stands there {count} times; rename one")


def joined(tables: Sequence[Table], name: str) -> Table:
    """Tables one after another as one; the only one as it is.

    A column that a part lacks is missing in its rows; if it must be there, `require` names the part.
    """
    if len(tables) == 1:
        return tables[0]

    def rows(names: Collection[str]) -> Iterator[Row]:
        before = 0
        for table in tables:
            count = 0
            for row in table.rows(names):
                count = row.index + 1
                yield replace(row, index=before + row.index, part=f"{table.name} row {count}")
            before += count

    def scan() -> tuple[str, ...]:
        return _together(table.every_column() for table in tables)

    every = scan if any(table.scan for table in tables) else None
    return Table(name, _together(table.columns for table in tables), rows, every, tuple(tables))


def _together(columns: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for names_of_part in columns for column in names_of_part))


@contextmanager
def located(place: str) -> Iterator[None]:
    """A context in which a DataError gets its place put in front."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
