"""Trainings of several processes: what each of them does, and what they tell the process that waits for them."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semievol import errors
from semievol.config import ModelConfig, TrainingConfig
from semievol.errors import SemiEvolError, Stopped, TrainingError
from semievol.records import TrainingExample
from semievol.training import Progress, Trained, trainer_in_process

News = dict[str, Any]
"""A step (`step`, `steps`, `loss`, `note`), the end (`trained`), or an error (`error`, its class, and `message`)."""


@dataclass(frozen=True)
class Job:
    """A training as its processes are told it; all of them see its paths."""

    model: ModelConfig
    recipe: TrainingConfig
    out: str
    seed: int
    start_from: str | None
    examples: Sequence[TrainingExample]

    def write(self, path: Path) -> None:
        """Writes the job: a line for the job, then one for each row."""
        job = {
            "model": self.model.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "out": self.out,
            "seed": self.seed,
            "start_from": self.start_from,
        }
        with path.open("w", encoding="utf-8") as lines:
            lines.write(json.dumps(job) + "\n")
            lines.writelines(json.dumps(dataclasses.asdict(example)) + "\n" for example in self.examples)

    @classmethod
    def read(cls, path: Path) -> "Job":
        """The job that `write` wrote."""
        with path.open(encoding="utf-8") as lines:
            job = json.loads(next(lines))
            rows = [json.loads(line) for line in lines]
        return cls(
            model=ModelConfig.model_validate(job["model"]),
            recipe=TrainingConfig.model_validate(job["recipe"]),
            out=job["out"],
            seed=job["seed"],
            start_from=job["start_from"],
            examples=[TrainingExample(**{**row, "messages": tuple(row["messages"])}) for row in rows],
        )


def work(job: Job, tell: Callable[[News], None], stopping: Callable[[], bool] = lambda: False) -> bool:
    """Trains as one of the job's processes, whose process group is there; whether it came to an end.

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
        trained = trainer.train(job.model, job.examples, job.recipe, Path(job.out), job.seed, job.start_from, progress)
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
