"""Trainings of several processes: what each of them does, and what they tell the process that waits for them."""

import dataclasses
from collections.abc import Callable
from typing import Any

from semievol import errors
from semievol.errors import SemiEvolError, Stopped, TrainingError
from semievol.training import Progress, Trained, trainer_in_process
from semievol.training.job import Job

News = dict[str, Any]
"""A step (`step`, `steps`, `loss`, `note`), the end (`trained`), or an error (`error`, its class, and `message`)."""


def work(job: Job, tell: Callable[[News], None], stopping: Callable[[], bool] = lambda: False) -> bool:
    """Trains as one of the job's processes, whose process group is there; returns whether it came to an end.

    Errors that the user can mend are told and not raised.

    Args:
        stopping: asked after each step whether the training should end.
    """
    from semievol.training.distributed import rank

    def progress(step: int, steps: int, loss: float | None, note: str = "") -> None:
        if rank() == 0:
            tell({"step": step, "steps": steps, "loss": loss, "note": note})
            if stopping():
                raise Stopped("stopped as asked")

    trainer = trainer_in_process(job.recipe)
    try:
        trained = trainer.train(job, progress)
    except SemiEvolError as error:
        tell({"error": type(error).__name__, "message": str(error)})
        return False
    if rank() == 0:
        tell({"trained": dataclasses.asdict(trained)})
    return True


class Listener:
    """Passes on what a job's processes tell."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step = self._steps = 0
        self.trained: Trained | None = None

    def hear(self, news: News) -> None:
        """Takes one piece of news.

        Raises:
            SemiEvolError: the error of a process, as that process raised it.
            Stopped: the user asked to stop.
        """
        if "trained" in news:
            self.trained = Trained(**{**news["trained"], "losses": tuple(news["trained"]["losses"])})
        elif "error" in news:
            raise getattr(errors, news["error"], TrainingError)(news["message"])
        elif news["step"] > self._step:  # a training that was started again tells its first steps again
            self._step, self._steps = news["step"], news["steps"]
            self._progress(news["step"], news["steps"], news["loss"], news["note"])

    def wait(self) -> None:
        """Says that there is no news.

        Raises:
            Stopped: the user asked to stop.
        """
        self._progress(self._step, self._steps, None)
