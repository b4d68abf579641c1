"""How far a run has come, for a person: bars on a terminal, plain lines elsewhere, always a log."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from semievol.errors import RunFolderError, redacted
from semievol.terminal import TextConsole, visible

logger = logging.getLogger("semievol")

STOPPING = signal.SIGINT, signal.SIGTERM
"""Ctrl-C, and what schedulers, containers and machines about to be taken away send before they kill."""


class Reporter:
    """Tells nothing to anybody but the log; the base of those that do."""

    stopping: bool = False
    """Set from outside: stages finish what is in flight, save it and stop."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """In another process: the reporter that tells nobody there."""
        return _elsewhere, ()

    @contextmanager
    def stage(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[None]:
        """Frames a stage of `total` units of work, `done` of which were finished by an earlier process."""
        logger.info("%s: %d %s%s", title, total, unit, f", {done} already there" if done else "")
        started = time.monotonic()
        self._begin(title, total, unit, done)
        try:
            yield
        finally:
            self._end()
            logger.info("%s: %.1f s", title, time.monotonic() - started)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts finished units; `note` is a figure to show, such as the loss."""

    def say(self, line: str) -> None:
        """One line for the person and the log."""
        logger.info("%s", line)

    def _begin(self, title: str, total: int, unit: str, done: int) -> None:
        pass

    def _end(self) -> None:
        pass


ReporterT = TypeVar("ReporterT", bound=Reporter)

_silent = Reporter()


def _elsewhere() -> Reporter:
    return _silent


def interrupt() -> None:
    """Asks the work that another process handed to this one to stop."""
    _silent.stopping = True


class PlainReporter(Reporter):
    """Lines on standard error, at most one every few seconds."""

    every = 15.0
    """Seconds between two lines of one stage."""
    _start = _last = 0.0

    def advance(self, count: int = 1, note: str = "") -> None:
        """Prints a line if the last is old enough, and at the end."""
        self._done += count
        now = time.monotonic()
        if now - self._last < self.every and self._done < self._total:
            return
        self._last = now
        new = self._done - self._first
        rate = new / max(now - self._start, 1e-9)
        line = f"  {self._title}: {self._done}/{self._total} {self._unit}, {rate:.1f} a second"
        if new * 50 >= self._total:  # the first answers wait for the model to load, and tell nothing of the rest
            line += f", {_clock((self._total - self._done) / rate)} left"
        self.say(f"{line}, {note}" if note else line)

    def say(self, line: str) -> None:
        """Prints the line and logs it."""
        super().say(line)
        print(visible(line), file=sys.stderr, flush=True)

    def _begin(self, title: str, total: int, unit: str, done: int) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._first, self._done = done, done
        self._start = self._last = time.monotonic()


class RichReporter(Reporter):
    """A bar for each stage, with rate and time left."""

    every = 0.1
    """Seconds between two movements of the bar; moving it costs more than an answer of a fast engine."""

    def __init__(self, console: TextConsole) -> None:
        self.console = console
        self._waiting, self._note, self._drawn = 0, "", 0.0
        self._bars: Progress | None = None
        self._bar: TaskID | None = None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Moves the bar, a few times a second at most."""
        self._waiting += count
        self._note = visible(note) or self._note
        now = time.monotonic()
        if now - self._drawn >= self.every:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        if self._bars is not None and self._bar is not None:
            speed = self._bars.tasks[0].speed
            rate = f"{speed:.1f}/s" if speed else ""
            self._bars.update(self._bar, advance=self._waiting, note=self._note, rate=rate)
            self._waiting = 0

    def say(self, line: str) -> None:
        """Prints the line above the bar and logs it."""
        super().say(line)
        self.console.print(line)

    def _begin(self, title: str, total: int, unit: str, done: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
        )
        self._bars.start()
        self._bar = self._bars.add_task(visible(title), total=total, completed=done, rate="", note="")

    def _end(self) -> None:
        if self._bars is not None:
            self._draw()
            self._bars.stop()
        self._bars = self._bar = None
        self._note = ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def reporter_for_terminal() -> Reporter:
    """Bars where standard error is a terminal, lines elsewhere."""
    on_stderr = TextConsole(stderr=True)
    return RichReporter(on_stderr) if on_stderr.is_terminal else PlainReporter()


@contextmanager
def stoppable(reporter: Reporter) -> Iterator[Reporter]:
    """A block that a signal to stop lets finish and save what is in flight; a second one ends it at once.

    Only a process' main thread hears signals; in another one it is a block like any other.
    """
    if threading.current_thread() is not threading.main_thread():
        yield reporter
        return

    def interrupted(*_: object) -> None:
        if reporter.stopping:
            raise KeyboardInterrupt
        reporter.stopping = True
        reporter.say("stopping: what is in flight is finished and saved; Ctrl-C again stops at once")

    before = {number: signal.signal(number, interrupted) for number in STOPPING}
    try:
        yield reporter
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _TextFormatter(logging.Formatter):
    """Lines that are safe to show on a terminal, and to others: they hold no keys."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(redacted(super().format(record)))


class _LogFile(logging.FileHandler):
    """Writes what it can: a full disk ends a run in the words of what it computes, and not of its log."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def reporting(path: Path, reporter: ReporterT) -> Iterator[ReporterT]:
    """A block with a log in a file, and with signals to stop that let it save what is in flight."""
    handler = log_to(path)
    try:
        with stoppable(reporter):
            yield reporter
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def log_to(path: Path) -> logging.Handler:
    """Sends the log of this package, and warnings of the libraries, to a file, until the handler is removed.

    Raises:
        RunFolderError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror or error}") from error
    handler.setFormatter(_TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    logger.setLevel(logging.INFO)
    return handler
