"""The table of a grid that fills."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from semievol.progress import PlainReporter, Reporter
from semievol.terminal import TextConsole, visible

logger = logging.getLogger("semievol")


class GridReporter(Reporter):
    """Tells the log alone; the base of those that show the table."""

    @contextmanager
    def table(self, rows: Sequence[str], columns: Sequence[str]) -> Iterator[None]:
        """Frames a grid whose cells are still empty."""
        self._rows, self._columns = list(rows), list(columns)
        self._cells: dict[tuple[str, str], str] = {}
        yield

    def fill(self, row: str, column: str, text: str) -> None:
        """Writes a cell."""
        self._cells[row, column] = text
        logger.info("%s, %s: %s", column, row, text)


class PlainGridReporter(GridReporter, PlainReporter):
    """A line for each cell, and lines of the stages, on standard error."""

    def fill(self, row: str, column: str, text: str) -> None:
        """Writes a cell and prints it."""
        self._cells[row, column] = text
        self.say(f"[{len(self._cells)}/{len(self._rows) * len(self._columns)}] {column}, {row}: {text}")


class LiveGridReporter(GridReporter):
    """The table itself on a terminal, with the stage under way below it."""

    def __init__(self, console: TextConsole) -> None:
        self._console = console
        self._live: Live | None = None
        self._stage: tuple[str, int, str] | None = None
        self._done, self._note = 0, ""

    @contextmanager
    def table(self, rows: Sequence[str], columns: Sequence[str]) -> Iterator[None]:
        """Shows the table until the block ends."""
        with (
            super().table(rows, columns),
            Live(console=self._console, get_renderable=self._shown, refresh_per_second=4, transient=True) as self._live,
        ):
            yield
        self._live = None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts finished units of the stage."""
        self._done += count
        self._note = note or self._note

    def say(self, line: str) -> None:
        """Prints the line above the table and logs it."""
        super().say(line)
        self._console.print(line)

    def _begin(self, title: str, total: int, unit: str, done: int) -> None:
        self._stage, self._done, self._note = (title, total, unit), done, ""

    def _end(self) -> None:
        self._stage = None

    def _shown(self) -> RenderableType:
        table = Table("", *self._columns, box=None, pad_edge=False, header_style="bold")
        for row in self._rows:
            table.add_row(row, *(self._cells.get((row, column), "·") for column in self._columns))
        if self._stage is None:
            return table
        title, total, unit = self._stage
        return Group(table, Text(visible(f"{title}: {self._done}/{total} {unit} {self._note}"), style="dim"))


def grid_reporter_for_terminal() -> GridReporter:
    """The table where standard error is a terminal, lines elsewhere."""
    console = TextConsole(stderr=True)
    return LiveGridReporter(console) if console.is_terminal else PlainGridReporter()
