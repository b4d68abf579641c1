"""Shards on a Ray cluster: each worker holds one engine and does one shard at a time.

A shard's result goes to the run folder; what comes back are counts. Only shards in flight are with Ray, one for each
worker, so the object store holds little however many there are, and when a worker dies it is known what it was at.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

import semievol
from semievol.config import Config
from semievol.errors import BackendError, ClusterError, SemiEvolError, Stopped
from semievol.executors import FailedShard, ShardsFailed
from semievol.executors.cluster import connect
from semievol.executors.desk import Desk
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


@dataclass(eq=False)
class PendingShard:
    """A shard that is still to be done."""

    shard: Any
    attempts: int = 0


class RayExecutor:
    """A pool of workers that live until they are let go: an engine takes minutes to start."""

    in_process = False

    def __init__(self, config: Config) -> None:
        """Holds on to the options."""
        self._config, self._options = config, config.executor.ray
        self._idle: list[Any] = []

    def map(self, function: Callable[[S], R], shards: Sequence[S], reporter: Reporter) -> Iterator[R]:
        """See `Executor`; a shard whose worker dies or which fails is tried again, behind the others."""
        if not shards:
            return
        connect(self._options)
        shift = _Shift(self._options.max_attempts, [ray.put(function)], shards)
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
            self._idle = shift.dismiss(self._least)

    def close(self) -> None:
        """Lets all workers go."""
        for desk in self._idle:
            ray.kill(desk)
        self._idle = []

    @property
    def _least(self) -> int:
        return self._options.workers if self._options.min_workers is None else self._options.min_workers

    def _hire(self, shift: "_Shift") -> None:
        """As many workers as there is work for; those that nobody needs any more may go."""
        while shift.lacks(self._options.workers):
            shift.hire(self._hired())
        shift.dismiss_idle(self._least)

    def _hired(self) -> Any:
        return Desk.options(  # type: ignore[attr-defined]
            num_cpus=self._options.num_cpus,
            num_gpus=gpus_of_a_worker(self._config),
            resources=self._options.resources,
            scheduling_strategy="SPREAD",
        ).remote(str(Path.cwd()), sys.path)


class _Shift:
    """The work of one call and the workers at it.

    A worker is starting (its future is that of its version), at a shard (its future is the result), or idle.
    """

    def __init__(self, max_attempts: int, function: list[Any], shards: Sequence[Any]) -> None:
        self._function, self._max_attempts = function, max_attempts
        self._todo = deque(PendingShard(shard) for shard in shards)
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, PendingShard]] = {}
        self._idle: list[Any] = []
        self._failures: list[FailedShard] = []
        self._done = self._lost_at_the_start = 0
        self._stopped = False
        self._since = time.monotonic()

    @property
    def goes_on(self) -> bool:
        """Whether there is work that somebody does or will do."""
        return bool(self._busy) or bool(self._todo)

    def hire(self, desk: Any) -> None:
        """Takes a worker; it is given work when it is there."""
        self._starting[desk.version.remote()] = desk

    def lacks(self, most: int) -> bool:
        """Whether there is work that nobody does or is about to do, and room for a worker more."""
        at_hand = len(self._starting) + len(self._idle)
        return at_hand < len(self._todo) and at_hand + len(self._busy) < most

    def stop(self) -> None:
        """Begins nothing any more and asks the workers to save what is in flight."""
        if not self._stopped:
            self._stopped = True
            self._todo.clear()
            for desk, _ in self._busy.values():
                desk.stop.remote()

    def finished(self, reporter: Reporter) -> Iterator[Any]:
        """Results that came in within a glance; the workers that gave them go on."""
        while self._idle and self._todo:
            work, desk = self._todo.popleft(), self._idle.pop()
            self._busy[desk.work.remote(self._function, work.shard)] = desk, work
        waiting = [*self._busy, *(self._starting if self._todo else ())]
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=GLANCE)
        for future in ready:
            if future in self._starting:
                self._arrive(future, self._starting.pop(future))
            else:
                desk, work = self._busy.pop(future)
                try:
                    result = ray.get(future)
                except RayError as error:
                    self._fail(desk, work, error)
                    continue
                self._done += 1
                self._idle.append(desk)
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
            ray.kill(self._idle.pop())

    def dismiss(self, least: int) -> list[Any]:
        """The idle workers that are kept; all others go, whatever they do."""
        kept = self._idle[:least]
        for desk in (*self._idle[least:], *self._starting.values(), *(desk for desk, _ in self._busy.values())):
            ray.kill(desk)
        return kept

    def _arrive(self, future: Any, desk: Any) -> None:
        try:
            version = ray.get(future)
        except RayError as error:
            self._lost_at_the_start += 1
            if self._lost_at_the_start >= HOPELESS and not self._done:
                raise ClusterError(f"no worker starts on the Ray cluster: {_reason(error)}") from error
            logger.warning("a worker did not start, another one is asked for: %s", error)
            return
        if version != semievol.__version__:
            raise ClusterError(
                f"a worker has semievol {version}, this process {semievol.__version__}; "
                "install the same version on all machines, or name it in executor.ray.runtime_env"
            )
        self._idle.append(desk)

    def _fail(self, desk: Any, work: PendingShard, error: RayError) -> None:
        """Takes the shard back, or gives it up; its worker is replaced, for its engine may be broken."""
        ray.kill(desk)
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, Stopped):
            self._stopped = True
            return
        if isinstance(cause, SemiEvolError) and not isinstance(cause, BackendError):
            raise cause  # the user's to mend, and the same for all shards
        work.attempts += 1
        logger.warning("shard %s failed (%d of %d): %s", work.shard, work.attempts, self._max_attempts, error)
        if work.attempts < self._max_attempts:
            if not self._stopped:
                self._todo.append(work)
            return
        self._failures.append(FailedShard(work.shard, work.attempts, _reason(error), str(error)))
        if len(self._failures) >= HOPELESS and not self._done:
            raise ShardsFailed(self._failures)

    def _tell_of_waiting(self, reporter: Reporter) -> None:
        if self._busy or self._idle:
            self._since = time.monotonic()
        elif self._todo and time.monotonic() - self._since > PATIENCE:
            self._since = float("inf")  # once
            has = {name: round(amount, 1) for name, amount in ray.cluster_resources().items() if ":" not in name}
            reporter.say(f"waiting for the Ray cluster: it has no room for a worker yet, of {has} in all")


def gpus_of_a_worker(config: Config) -> float:
    """GPUs that each worker is given: as the options say, or as many as its engine spreads the model over.

    The cluster has to be connected.
    """
    configured = config.executor.ray.num_gpus
    if configured is not None:
        return configured
    kind, vllm = config.backend.kind, config.backend.vllm
    if kind == "fake" or config.model.device == "cpu" or not ray.cluster_resources().get("GPU"):
        return 0
    return vllm.tensor_parallel_size * vllm.data_parallel_size if kind == "vllm" else 1


def _reason(error: RayError) -> str:
    """The error in a line."""
    if isinstance(error, RayTaskError) and error.cause is not None:
        return f"{type(error.cause).__name__}: {error.cause}".splitlines()[0]
    if isinstance(error, RayActorError):
        return "the worker died"
    return f"{type(error).__name__}: {error}".splitlines()[0]
