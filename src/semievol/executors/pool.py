"""A pool of workers that do one shard at a time: hiring, handing out, trying again, stopping.

Only shards in flight are with the workers, one for each, so little is held there however many there are, and when a
worker dies it is known what it was at. Where the workers are is what `RayExecutor` and `ProcessesExecutor` add.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import semievol
from semievol.errors import BackendError, ClusterError, SemiEvolError, Stopped
from semievol.executors import FailedShard, ShardsFailed
from semievol.progress import Reporter

logger = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")

GLANCE = 0.5
"""Seconds after which the reporter is asked whether the user wants to stop."""
PATIENCE = 30.0
"""Seconds without a worker after which the user is told what is waited for."""
HOPELESS = 3
"""Shards, or workers that start, that fail before any has succeeded; then nothing will."""


class Worker(Protocol):
    """A process that does one shard at a time; what it says comes later.

    A future fails with the error of the function, or with any other where the process ends.
    """

    def start(self) -> "Future[str]":
        """Its version of the package, when it is there."""

    def work(self, function: Any, shard: Any) -> "Future[Any]":
        """What the function gives for a shard.

        Args:
            function: as `WorkerPool.shared` has it.
        """

    def stop(self) -> None:
        """Asks the function to save what is in flight and stop."""

    def kill(self) -> None:
        """Ends it, whatever it does."""


@dataclass(eq=False)
class PendingShard:
    """A shard that is still to be done."""

    shard: Any
    attempts: int = 0


class WorkerPool(ABC):
    """An executor whose workers live until they are let go: an engine takes minutes to start."""

    in_process = False
    name: str
    """Where the workers are, for a line on what is waited for."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []

    def map(self, function: Callable[[S], R], shards: Sequence[S], reporter: Reporter) -> Iterator[R]:
        """See `Executor`; a shard whose worker dies or which fails is tried again, behind the others."""
        if not shards:
            return
        self.connect()
        shift = _Shift(self, self.shared(function), shards)
        while self._idle:
            shift.hire(self._idle.pop())
        try:
            while shift.goes_on:
                self._hire(shift)
                if reporter.stopping:
                    shift.stop()
                yield from shift.finished(reporter)
            shift.end()
        finally:
            self._idle = shift.dismiss(self.least)

    def close(self) -> None:
        """Lets all workers go."""
        for worker in self._idle:
            worker.kill()
        self._idle = []

    @abstractmethod
    def connect(self) -> None:
        """Makes ready what workers are hired from."""

    def shared(self, function: Callable[[Any], Any]) -> Any:
        """The function as all workers are handed it."""
        return function

    def cause(self, error: Exception) -> BaseException | None:
        """What the function raised in the worker; `None` if the worker itself has ended."""
        return error

    def story(self, error: Exception) -> str:
        """The error with where in the worker it was raised."""
        return str(error)

    def room(self) -> str:
        """What there is to hire from, for a line on what is waited for."""
        return ""

    @abstractmethod
    def hired(self) -> Worker:
        """A worker more."""

    @property
    @abstractmethod
    def most(self) -> int:
        """Most workers at a time."""

    @property
    def least(self) -> int:
        """Workers that are kept while others run out of work, and between two calls."""
        return self.most

    @property
    @abstractmethod
    def max_attempts(self) -> int:
        """How often a shard is tried."""

    def _hire(self, shift: "_Shift") -> None:
        """As many workers as there is work for; those that nobody needs any more may go."""
        while shift.lacks(self.most):
            shift.hire(self.hired())
        shift.dismiss_idle(self.least)


class _Shift:
    """The work of one call and the workers at it.

    A worker is starting (its future is that of its version), at a shard (its future is the result), or idle.
    """

    def __init__(self, pool: WorkerPool, function: Any, shards: Sequence[Any]) -> None:
        self._pool, self._function = pool, function
        self._todo = deque(PendingShard(shard) for shard in shards)
        self._starting: dict[Future[str], Worker] = {}
        self._busy: dict[Future[Any], tuple[Worker, PendingShard]] = {}
        self._idle: list[Worker] = []
        self._failures: list[FailedShard] = []
        self._done = self._lost_at_the_start = 0
        self._stopped = False
        self._since = time.monotonic()

    @property
    def goes_on(self) -> bool:
        """Whether there is work that somebody does or will do."""
        return bool(self._busy) or bool(self._todo)

    def hire(self, worker: Worker) -> None:
        """Takes a worker; it is given work when it is there."""
        self._starting[worker.start()] = worker

    def lacks(self, most: int) -> bool:
        """Whether there is work that nobody does or is about to do, and room for a worker more."""
        at_hand = len(self._starting) + len(self._idle)
        return at_hand < len(self._todo) and at_hand + len(self._busy) < most

    def stop(self) -> None:
        """Begins nothing any more and asks the workers to save what is in flight."""
        if not self._stopped:
            self._stopped = True
            self._todo.clear()
            for worker, _ in self._busy.values():
                worker.stop()

    def finished(self, reporter: Reporter) -> Iterator[Any]:
        """Results that came in within a glance; the workers that gave them go on."""
        while self._idle and self._todo:
            work, worker = self._todo.popleft(), self._idle.pop()
            self._busy[worker.work(self._function, work.shard)] = worker, work
        waiting = [*self._busy, *(self._starting if self._todo else ())]
        for future in wait(waiting, GLANCE, FIRST_COMPLETED).done:
            if future in self._starting:
                self._arrive(future, self._starting.pop(future))
            else:
                worker, work = self._busy.pop(future)
                try:
                    result = future.result()
                except Exception as error:
                    self._fail(worker, work, error)
                    continue
                self._done += 1
                self._idle.append(worker)
                yield result
        self._tell_of_waiting(reporter)

    def end(self) -> None:
        """Raises an error if not all is done.

        Raises:
            Stopped: the user asked to stop.
            ShardsFailed: shards were given up.
        """
        if self._stopped:
            raise Stopped("stopped as asked; the same command goes on from here")
        if self._failures:
            raise ShardsFailed(self._failures)

    def dismiss_idle(self, least: int) -> None:
        """Lets idle workers go while nothing is left to do, but so many."""
        while not self._todo and self._idle and len(self._idle) + len(self._busy) > least:
            self._idle.pop().kill()

    def dismiss(self, least: int) -> list[Worker]:
        """The idle workers that are kept; all others go, whatever they do."""
        kept = self._idle[:least]
        for worker in (*self._idle[least:], *self._starting.values(), *(worker for worker, _ in self._busy.values())):
            worker.kill()
        return kept

    def _arrive(self, future: "Future[str]", worker: Worker) -> None:
        try:
            version = future.result()
        except Exception as error:
            worker.kill()
            self._lost_at_the_start += 1
            if self._lost_at_the_start >= HOPELESS and not self._done:
                raise ClusterError(f"no worker starts on {self._pool.name}: {self._reason(error)}") from error
            logger.warning("a worker did not start, another one is asked for: %s", error)
            return
        if version != semievol.__version__:
            raise ClusterError(
                f"a worker has semievol {version}, this process {semievol.__version__}; "
                "install the same version on all machines, or name it in executor.ray.runtime_env"
            )
        self._idle.append(worker)

    def _fail(self, worker: Worker, work: PendingShard, error: Exception) -> None:
        """Takes the shard back, or gives it up; its worker is replaced, for its engine may be broken."""
        worker.kill()
        cause = self._pool.cause(error)
        if isinstance(cause, Stopped):
            self._stopped = True
            return
        if isinstance(cause, SemiEvolError) and not isinstance(cause, BackendError):
            raise cause  # the user's to mend, and the same for all shards
        work.attempts += 1
        most = self._pool.max_attempts
        logger.warning("shard %s failed (%d of %d): %s", work.shard, work.attempts, most, error)
        if work.attempts < most:
            if not self._stopped:
                self._todo.append(work)
            return
        self._failures.append(FailedShard(work.shard, work.attempts, self._reason(error), self._pool.story(error)))
        if len(self._failures) >= HOPELESS and not self._done:
            raise ShardsFailed(self._failures)

    def _tell_of_waiting(self, reporter: Reporter) -> None:
        if self._busy or self._idle:
            self._since = time.monotonic()
        elif self._todo and time.monotonic() - self._since > PATIENCE:
            self._since = float("inf")  # once
            reporter.say(f"waiting for {self._pool.name}: {self._pool.room()}")

    def _reason(self, error: Exception) -> str:
        """The error in a line."""
        cause = self._pool.cause(error)
        return "the worker died" if cause is None else f"{type(cause).__name__}: {cause}".splitlines()[0]
