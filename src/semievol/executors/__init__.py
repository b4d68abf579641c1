"""Where shards of work run."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from semievol.config import ExecutorConfig
from semievol.seams import Table, implementation

S = TypeVar("S")
R = TypeVar("R")

EXECUTORS: Table = {"inline": ("semievol.executors.inline:InlineExecutor", None)}


class Executor(Protocol):
    """Runs one function over many shards."""

    def __init__(self, config: ExecutorConfig) -> None:
        """Holds on to the options; starts nothing."""

    def map(self, function: Callable[[S], R], shards: Sequence[S]) -> Iterator[R]:
        """The results of `function` over `shards`, in the order they finish.

        The function and the shards can be pickled and hold configs, not live clients.
        """


def open_executor(config: ExecutorConfig) -> Executor:
    """The executor that `executor.kind` names."""
    executor: Executor = implementation("executor.kind", config.kind, EXECUTORS)(config)
    return executor
