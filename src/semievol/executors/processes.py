"""Shards in several processes on this machine, each with a GPU of its own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import semievol
from semievol.config import Config, ModelConfig
from semievol.executors.pool import WorkerPool
from semievol.models.types import resolve_device
from semievol.progress import interrupt

VISIBLE = "CUDA_VISIBLE_DEVICES"


class ProcessWorker:
    """A process of this machine. It ends when this one does, however that ends."""

    def __init__(self, environment: dict[str, str], release: Callable[[], None]) -> None:
        """Starts nothing yet.

        Args:
            environment: what differs there from this process'.
            release: called when it has ended.
        """
        self._release = release
        context = multiprocessing.get_context("spawn")  # CUDA does not outlive a fork
        theirs, self._line = context.Pipe(duplex=False)
        self._process = ProcessPoolExecutor(1, context, _begin, (theirs, environment))

    def start(self) -> "Future[str]":
        """See `Worker`."""
        return self._process.submit(_version)

    def work(self, function: Callable[[Any], Any], shard: Any) -> "Future[Any]":
        """See `Worker`."""
        return self._process.submit(function, shard)

    def stop(self) -> None:
        """See `Worker`."""
        with suppress(OSError):  # it has just died
            self._line.send_bytes(b"stop")

    def kill(self) -> None:
        """See `Worker`."""
        self._line.close()
        self._process.shutdown(wait=False, cancel_futures=True)
        self._release()


class ProcessesExecutor(WorkerPool):
    """A pool of processes on this machine."""

    name = "this machine"

    def __init__(self, config: Config) -> None:
        """Holds on to the options."""
        super().__init__()
        self._options, self._model = config.executor.processes, config.model
        self._loads_a_model = config.backend.kind != "fake"
        self._most = 0
        self._free: list[dict[str, str]] = []
        """What the workers that are yet to be hired differ in."""

    def connect(self) -> None:
        """Divides the machine, and frees the model that this process holds: each worker loads its own."""
        if self._loads_a_model:
            from semievol.local.model import free_local_model

            free_local_model()
        if not self._most:
            gpus = gpus_of(self._model) if self._loads_a_model else []
            workers = max(1, len(gpus)) if self._options.workers == "auto" else self._options.workers
            self._free, self._most = environments(gpus, workers), workers

    def cause(self, error: Exception) -> BaseException | None:
        """See `WorkerPool`."""
        return None if isinstance(error, BrokenProcessPool) else error

    def story(self, error: Exception) -> str:
        """See `WorkerPool`; a process tells its traceback as the error's cause."""
        return str(error.__cause__ or error)

    def hired(self) -> ProcessWorker:
        """See `WorkerPool`."""
        environment = self._free.pop(0)
        return ProcessWorker(environment, partial(self._free.append, environment))

    @property
    def most(self) -> int:
        """See `WorkerPool`."""
        return self._most

    @property
    def max_attempts(self) -> int:
        """See `WorkerPool`."""
        return self._options.max_attempts


def gpus_of(model: ModelConfig) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` calls each GPU that this process sees; none if the model computes elsewhere."""
    if not resolve_device(model).startswith("cuda"):
        return []
    import torch

    names = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return names or [str(number) for number in range(torch.cuda.device_count())]


def environments(gpus: list[str], workers: int) -> list[dict[str, str]]:
    """For each worker what differs there: its GPU, in turn if they are fewer, or else its share of the cores."""
    if gpus:
        return [{VISIBLE: gpus[number % len(gpus)]} for number in range(workers)]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    return [{"OMP_NUM_THREADS": threads}] * workers


def _begin(line: Connection, environment: dict[str, str]) -> None:
    """In the worker, before anything else: torch reads the environment when it is imported."""
    os.environ.update(environment)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the process that hired this one decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_listen, args=(line,), daemon=True).start()


def _listen(line: Connection) -> None:
    """Stops the work when it is asked to, and ends the process when the one that hired it has gone or lets it go."""
    try:
        while True:
            line.recv_bytes()
            interrupt()
    except EOFError:
        os._exit(1)


def _version() -> str:
    return semievol.__version__
