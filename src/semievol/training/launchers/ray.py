"""Trains on a Ray cluster, with Ray Train."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semievol.cluster import connect
from semievol.config import ModelConfig, RayConfig, TrainingConfig
from semievol.errors import TrainingError
from semievol.records import TrainingExample
from semievol.training import Progress, Trained, silent
from semievol.training.launchers import Job, Listener, work

MAX_FAILURES = 3
"""How often a training starts again whose workers die."""
PAUSE = 0.5
"""Seconds between two looks at whether the training has ended."""
GRACE = 30.0
"""Seconds in which a training that is stopped, or in which one of the workers fails, may end by itself."""


class RayLauncher:
    """The training of `training.kind` in `training.num_workers` workers of a cluster.

    A training is one unit of work: where a worker dies, all of it starts again.
    """

    def train(
        self,
        model: ModelConfig,
        examples: Sequence[TrainingExample],
        recipe: TrainingConfig,
        out: Path,
        seed: int,
        start_from: str | None = None,
        progress: Progress = silent,
    ) -> Trained:
        """See `Trainer`.

        Raises:
            TrainingError: as the trainer in the workers; also, workers died too often.
            ClusterError: there is no cluster.
        """
        config = recipe.ray or RayConfig()
        ray = connect(config)
        from ray.util.queue import Queue

        start_from = None if start_from is None else str(Path(start_from).absolute())
        job = Job(model, recipe, str(out.absolute()), seed, start_from, list(examples))
        news, orders = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
        storage = out.absolute().with_name(out.name + ".ray")
        # An actor of its own starts the training, so that the training ends with it, and so that Ray Train sets no
        # signal handlers here.
        session = ray.remote(num_cpus=0)(_Session).remote()
        loop = {"job": job, "news": news, "orders": orders}
        ended = session.run.remote(loop, _scaling(ray, model, recipe, config), str(storage))
        try:
            trained = _follow(ray, ended, news, Listener(progress))
        except BaseException:
            # Ray Train gives its resources back when it ends, and not always when it is killed.
            orders.put("stop")
            ray.wait([ended], timeout=GRACE)
            raise
        finally:
            ray.kill(session)
            for queue in (news, orders):
                queue.shutdown(force=True)
            shutil.rmtree(storage, ignore_errors=True)
        return replace(trained, weights=str(out))


def _follow(ray: Any, ended: Any, news: Any, listener: Listener) -> Trained:
    from ray.util.queue import Empty

    over = False
    while True:
        with contextlib.suppress(Empty):
            listener.hear(news.get(timeout=0 if over else PAUSE))
            continue
        if over:
            break
        listener.wait()
        over = bool(ray.wait([ended], timeout=0)[0])
    error: str | None = ray.get(ended)
    if listener.trained is None or error:
        raise TrainingError(f"training.launcher ray: {error or 'the workers ended without a word'}")
    return listener.trained


def _scaling(ray: Any, model: ModelConfig, recipe: TrainingConfig, config: RayConfig) -> dict[str, Any]:
    """The arguments of Ray Train's ScalingConfig."""
    gpus = config.num_gpus
    if gpus is None:
        gpus = float(model.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)
    each = {**config.resources, "CPU": config.num_cpus, **({"GPU": gpus} if gpus else {})}
    return {"num_workers": recipe.num_workers, "use_gpu": gpus > 0, "resources_per_worker": each}


class _Session:
    """Runs Ray Train, and ends it by ending."""

    def run(self, loop: dict[str, Any], scaling: dict[str, Any], storage: str) -> str | None:
        """Why the training failed, in one line, or `None`."""
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # relative paths of the config stay what they are
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

        trainer = TorchTrainer(
            _train,
            train_loop_config=loop,
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if scaling["use_gpu"] else "gloo"),
            scaling_config=ScalingConfig(**scaling),
            run_config=RunConfig(
                name="training", storage_path=storage, failure_config=FailureConfig(max_failures=MAX_FAILURES)
            ),
        )
        try:
            trainer.fit()
        except WorkerGroupError as error:
            return "; ".join(sorted({_line(failure) for failure in error.worker_failures.values()}))
        except TrainingFailedError as error:
            return _line(error)
        return None


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()


def _train(config: dict[str, Any]) -> None:
    """What each worker runs. A failure that is told is none to Ray, which would try again."""
    work(config["job"], config["news"].put, stopping=lambda: not config["orders"].empty())
