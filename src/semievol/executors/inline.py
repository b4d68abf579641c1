"""Shards one after another in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from semievol.config import Config
from semievol.progress import Reporter

S = TypeVar("S")
R = TypeVar("R")


class InlineExecutor:
    """Runs shards where it is called."""

    in_process = True

    def __init__(self, config: Config) -> None:
        """Needs nothing of the options."""

    def map(self, function: Callable[[S], R], shards: Sequence[S], reporter: Reporter) -> Iterator[R]:
        """The results in the order of the shards; the first error ends it."""
        return map(function, shards)

    def close(self) -> None:
        """Frees nothing: it holds nothing."""
