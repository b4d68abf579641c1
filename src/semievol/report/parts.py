"""The parts of a page, each of which may fail alone."""

import logging
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")
Instead = TypeVar("Instead")
logger = logging.getLogger("semievol")


class Parts:
    """Makes the parts of a page. One that cannot be made is left out and named, for the rest is worth showing.

    A finished run has cost hours or money, and its report is drawn from whatever they made: an error in drawing one
    figure, foreseen or not, must not take the others away.
    """

    def __init__(self) -> None:
        self.left_out: list[str] = []
        """What could not be made and why, a line each."""

    def make(self, name: str, build: Callable[[], Made], instead: Instead) -> Made | Instead:
        """What `build` returns, or `instead` if it fails; the log has the traceback."""
        try:
            return build()
        except Exception as error:
            logger.exception("the report goes without %s", name)
            self.left_out.append(f"{name}: {error}" if str(error) else f"{name}: {type(error).__name__}")
            return instead
