"""Where shards of work run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from semievol.config import Config
from semievol.errors import ClusterError
from semievol.plugins import Implementations, implementation
from semievol.progress import Reporter

S = TypeVar("S")
R = TypeVar("R")

EXECUTORS: Implementations = {
    "inline": ("semievol.executors.inline:InlineExecutor", None),
    "processes": ("semievol.executors.processes:ProcessesExecutor", None),
    "ray": ("semievol.executors.ray:RayExecutor", "ray"),
}


class Executor(Protocol):
    """Runs one function over many shards."""

    in_process: bool
    """Whether the function runs in this process, where it tells the reporter itself how far it has come."""

    def __init__(self, config: Config) -> None:
        """Holds on to the options; starts nothing."""

    def map(self, function: Callable[[S], R], shards: Sequence[S], reporter: Reporter) -> Iterator[R]:
        """The results of `function` over `shards`, in the order they finish.

        The function and the shards can be pickled and hold configs, not live clients.

        Raises:
            ShardsFailed: some failed for good, after all others have finished.
            Stopped: the reporter's user asked to stop, and what was in flight is saved.
        """

    def close(self) -> None:
        """Frees what it holds on other machines; it is had again when it is needed."""


@dataclass(frozen=True)
class FailedShard:
    """A shard that was given up."""

    shard: Any
    attempts: int
    reason: str
    """In one line."""
    error: str
    """Whole."""


class ShardsFailed(ClusterError):
    """Some shards failed as often as they may; the others are done."""

    def __init__(self, failures: Sequence[FailedShard]) -> None:
        super().__init__(f"{len(failures)} shards failed, the first with: {failures[0].reason}")
        self.failures = failures


def open_executor(config: Config) -> Executor:
    """The executor that `executor.kind` names."""
    executor: Executor = implementation("executor.kind", config.executor.kind, EXECUTORS)(config)
    return executor
