"""Shards one after another in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from semievol.config import ExecutorConfig

S = TypeVar("S")
R = TypeVar("R")


class InlineExecutor:
    """Runs shards where it is called."""

    def __init__(self, config: ExecutorConfig) -> None:
        """Needs nothing of the options."""

    def map(self, function: Callable[[S], R], shards: Sequence[S]) -> Iterator[R]:
        """The results in the order of the shards."""
        return map(function, shards)
