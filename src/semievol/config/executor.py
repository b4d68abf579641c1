"""Options of where the work runs."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from semievol.config.section import Count, Section


class RayConfig(Section):
    """A Ray cluster, and the workers that a run has there. None of it changes an answer."""

    address: str | None = None
    """Of a cluster: `auto` on one of its machines, or `10.0.0.1:6379`. If it is not set: what the environment
    variable RAY_ADDRESS says, or else a cluster that the run starts on this machine and ends."""
    workers: Count = 2
    """Most workers. Each holds one engine and answers one shard at a time. An autoscaler is asked for this many."""
    min_workers: Annotated[int, Field(ge=0)] | None = None
    """Workers that are kept while others run out of work, and between the stages; `workers` if it is not set."""
    num_cpus: Annotated[float, Field(gt=0)] = 1
    """Cores of each worker."""
    num_gpus: Annotated[float, Field(ge=0)] | None = None
    """GPUs of each worker. If it is not set: as many as its engine spreads the model over, if the cluster has
    GPUs."""
    resources: dict[str, float] = {}
    """Ray's custom resources of each worker: `{"accelerator_type:A100": 0.001}`."""
    runtime_env: dict[str, Any] = {}
    """What Ray prepares on the machines, such as `{pip: [...], env_vars: {...}, working_dir: .}`."""
    max_attempts: Count = 4
    """How often a shard is tried whose worker dies or which fails, before it is set aside with its error."""

    @model_validator(mode="after")
    def _keeps_no_more_than_it_has(self) -> "RayConfig":
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers is {self.min_workers} and workers is {self.workers}")
        return self


class ProcessesConfig(Section):
    """Workers on this machine. None of it changes an answer."""

    workers: Literal["auto"] | Count = "auto"
    """Each holds one engine and answers one shard at a time. `auto`: one for each GPU, or one without GPUs. With GPUs
    each has one of its own; without, they share the cores."""
    max_attempts: Count = 4
    """How often a shard is tried whose worker dies or which fails, before it is set aside with its error."""


class ExecutorConfig(Section):
    """Where shards of work run."""

    kind: str = "inline"
    """`inline` (this process), `processes` (several on this machine, each with a GPU), `ray` (a cluster), or
    `my_package.module:Class`."""
    shard_rows: Count = 256
    """Unlabeled or test rows in one shard: the unit of work and of distribution."""
    processes: ProcessesConfig = ProcessesConfig()
    ray: RayConfig = RayConfig()
