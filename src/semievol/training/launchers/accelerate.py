"""Trains in several processes on this machine, which torchrun starts and accelerate connects."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from semievol.config import ModelConfig, TrainingConfig
from semievol.errors import TrainingError
from semievol.executors import guarded
from semievol.models.types import resolve_device, resolve_dtype
from semievol.training import Progress, Trained, silent
from semievol.training.job import Job
from semievol.training.launchers import Listener

_log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds between two looks at what the processes tell."""


class AccelerateLauncher:
    """The training of `training.kind` in `training.num_workers` processes.

    They run under `guarded`, in a session of their own: Ctrl-C in a terminal leaves them to us to end, and they end
    when this process does, however that ends.
    """

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        """See `Trainer`.

        Raises:
            TrainingError: as the trainer in the processes; also, one of them ended without a word.
        """
        _check_gpus(job.model, job.recipe)
        _make_room()
        model = job.model.model_copy(update={"dtype": resolve_dtype(job.model)})
        if model.device == "cuda:0":
            model = model.model_copy(update={"device": "cuda"})  # each process has its own
        with tempfile.TemporaryDirectory(prefix="semievol-training-") as scratch:
            replace(job, model=model).write(Path(scratch) / "job.jsonl")
            trained = _follow(Path(scratch), job.recipe.num_workers, Listener(progress))
        return replace(trained, weights=str(job.out))


def _follow(folder: Path, workers: int, listener: Listener) -> Trained:
    """What the processes come to; none of them is left when this returns or raises."""
    news, log = folder / "news.jsonl", folder / "output.txt"
    news.touch()
    with log.open("wb") as output, news.open(encoding="utf-8") as lines:
        process = subprocess.Popen(
            [sys.executable, "-I", guarded.__file__, *_command(workers, folder / "job.jsonl", news)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(workers),
        )
        try:
            started = ""
            while True:
                has_ended = process.poll() is not None
                while line := lines.readline():
                    started += line
                    if started.endswith("\n"):  # a line that is still being written
                        listener.hear(json.loads(started))
                        started = ""
                if has_ended:
                    break
                listener.wait()
                try:
                    process.wait(PAUSE)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _end(process)
    if listener.trained is None or process.returncode:
        raise TrainingError(_reason(log.read_text(encoding="utf-8", errors="replace"), process.returncode))
    return listener.trained


def _command(workers: int, job: Path, news: Path) -> list[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    return [*command, "-m", "semievol.training.launchers.process", str(job), str(news)]


def _environment(workers: int) -> dict[str, str]:
    """This process' environment, with the cores divided among the workers."""
    cores = os.cpu_count() or 1
    paths = os.pathsep.join(path for path in sys.path if path)  # a trainer of the user's may lie anywhere on it
    return {"OMP_NUM_THREADS": str(max(1, cores // workers)), **os.environ, "PYTHONPATH": paths}


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(guarded.GRACE + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(output: str, status: int) -> str:
    """Why the processes ended, in one line; all that they wrote goes to the log."""
    _log.error("the output of the training's processes:\n%s", output)
    error_lines = [
        line.partition("]:")[2] or line for line in output.splitlines() if line.startswith(("[rank", "Traceback"))
    ]
    errors = [line.strip() for line in error_lines or output.splitlines() if "Error: " in line]
    why = errors[0] if errors else f"status {status}"
    return f"training.launcher accelerate: a process ended: {why}; the log has its output"


def _check_gpus(model: ModelConfig, recipe: TrainingConfig) -> None:
    import torch

    if resolve_device(model).startswith("cuda") and recipe.num_workers > torch.cuda.device_count():
        raise TrainingError(
            f"training.num_workers is {recipe.num_workers} and this machine has {torch.cuda.device_count()} GPUs; "
            "lower it, or set model.device cpu"
        )


def _make_room() -> None:
    """Frees the model that answers in this process; each of the workers loads its own."""
    from semievol.local.model import free_local_model

    free_local_model()
