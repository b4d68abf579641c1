"""Trains on a Ray cluster, with Ray Train."""

import contextlib
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.queue import Empty, Queue

from semievol.config import ModelConfig, RayConfig, TrainingConfig
from semievol.errors import TrainingError
from semievol.executors.cluster import connect
from semievol.run_folder.place import on_disk
from semievol.training import Progress, Trained, silent
from semievol.training.job import Job
from semievol.training.launchers import Listener, work

MAX_FAILURES = 3
"""How often a training starts again whose workers die."""
PAUSE = 0.5
"""Seconds between two looks at whether the training has ended."""
GRACE = 30.0
"""Seconds in which a training that is stopped, or in which one of the workers fails, may end by itself."""


Files = dict[str, bytes]
"""The content of a folder, by names relative to it."""


class RayLauncher:
    """The training of `training.kind` in `training.num_workers` workers of a cluster.

    A training is one unit of work: if a worker dies, all of it starts again. Weights come and go by Ray: no machine
    has to see another one's disk.
    """

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        """See `Trainer`.

        Raises:
            TrainingError: as the trainer in the workers; also, workers died too often.
            ClusterError: there is no cluster.
        """
        config, out = job.recipe.ray or RayConfig(), on_disk(job.out)
        connect(config)
        news, orders = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
        storage = out.absolute().with_name(out.name + ".ray")
        # An actor of its own starts the training, so that the training ends with it, and so that Ray Train sets no
        # signal handlers here.
        session = ray.remote(num_cpus=0)(_Session).remote()
        start_files = None if job.start_from is None else _files(Path(job.start_from))
        # A worker has folders of its own.
        sent_job = replace(job, examples=list(job.examples), out=Path(), start_from=None)
        loop = {"job": sent_job, "given": start_files, "news": news, "orders": orders}
        ending = session.run.remote(loop, _scaling(job.model, job.recipe, config), str(storage))
        try:
            trained, files = _follow(ending, news, Listener(progress))
        except BaseException:
            # Ray Train gives its resources back when it ends, and not always when it is killed.
            orders.put("stop")
            ray.wait([ending], timeout=GRACE)
            raise
        finally:
            ray.kill(session)
            for queue in (news, orders):
                queue.shutdown(force=True)
            shutil.rmtree(storage, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        _write(files, out)
        return replace(trained, weights=str(out))


def _follow(ending: Any, news: Any, listener: Listener) -> tuple[Trained, Files]:
    """What the training came to, and its weights."""
    over, files = False, Files()
    while True:
        with contextlib.suppress(Empty):
            message = news.get(timeout=0 if over else PAUSE)
            if "files" in message:
                files = message["files"]
            else:
                listener.hear(message)
            continue
        if over:
            break
        listener.wait()
        over = bool(ray.wait([ending], timeout=0)[0])
    error: str | None = ray.get(ending)
    if listener.trained is None or not files or error:
        raise TrainingError(f"training.launcher ray: {error or 'the workers ended without a word'}")
    return listener.trained, files


def _scaling(model: ModelConfig, recipe: TrainingConfig, config: RayConfig) -> dict[str, Any]:
    """The arguments of Ray Train's ScalingConfig."""
    gpus = config.num_gpus
    if gpus is None:
        gpus = float(model.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)
    per_worker = {**config.resources, "CPU": config.num_cpus, **({"GPU": gpus} if gpus else {})}
    return {"num_workers": recipe.num_workers, "use_gpu": gpus > 0, "resources_per_worker": per_worker}


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
    from semievol.training.distributed import rank

    tell = config["news"].put
    with tempfile.TemporaryDirectory(prefix="semievol-") as scratch:
        start_folder, out = Path(scratch, "given"), Path(scratch, "out")
        start_from = None if config["given"] is None else str(_write(config["given"], start_folder))
        job = replace(config["job"], out=out, start_from=start_from)
        if work(job, tell, stopping=lambda: not config["orders"].empty()) and rank() == 0:
            tell({"files": _files(out)})


def _files(folder: Path) -> Files:
    """The files of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _write(files: Files, folder: Path) -> Path:
    """The folder, with these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
