"""Shards on a Ray cluster: a shard's result goes to the run folder from the worker, and counts come back."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from semievol.config import Config
from semievol.executors.cluster import connect
from semievol.executors.desk import Desk
from semievol.executors.pool import WorkerPool


class RayWorker:
    """A desk on the cluster."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def start(self) -> "Future[str]":
        """See `Worker`; answered when the cluster has a machine for it."""
        version: Future[str] = self._desk.version.remote().future()
        return version

    def work(self, function: list[Any], shard: Any) -> "Future[Any]":
        """See `Worker`."""
        result: Future[Any] = self._desk.work.remote(function, shard).future()
        return result

    def stop(self) -> None:
        """See `Worker`."""
        self._desk.stop.remote()

    def kill(self) -> None:
        """See `Worker`."""
        ray.kill(self._desk)


class RayExecutor(WorkerPool):
    """A pool of workers on a cluster."""

    name = "the Ray cluster"

    def __init__(self, config: Config) -> None:
        """Holds on to the options."""
        super().__init__()
        self._config, self._options = config, config.executor.ray

    def connect(self) -> None:
        """Connects this process to the cluster.

        Raises:
            ClusterError: there is no cluster at the address.
        """
        connect(self._options)

    def shared(self, function: Callable[[Any], Any]) -> list[Any]:
        """A reference to the function, in a list so that Ray hands it on as it is; each worker fetches it once."""
        return [ray.put(function)]

    def cause(self, error: Exception) -> BaseException | None:
        """See `WorkerPool`."""
        if isinstance(error, RayActorError):
            return None
        cause: BaseException | None = error.cause if isinstance(error, RayTaskError) else None
        return cause or error

    def room(self) -> str:
        """See `WorkerPool`."""
        resources = {name: round(amount, 1) for name, amount in ray.cluster_resources().items() if ":" not in name}
        return f"it has no room for a worker yet, of {resources} in all"

    def hired(self) -> RayWorker:
        """See `WorkerPool`."""
        desk = Desk.options(  # type: ignore[attr-defined]
            num_cpus=self._options.num_cpus,
            num_gpus=gpus_of_a_worker(self._config),
            resources=self._options.resources,
            scheduling_strategy="SPREAD",
        ).remote(str(Path.cwd()), sys.path)
        return RayWorker(desk)

    @property
    def most(self) -> int:
        """See `WorkerPool`."""
        return self._options.workers

    @property
    def least(self) -> int:
        """See `WorkerPool`."""
        return self._options.workers if self._options.min_workers is None else self._options.min_workers

    @property
    def max_attempts(self) -> int:
        """See `WorkerPool`."""
        return self._options.max_attempts


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
