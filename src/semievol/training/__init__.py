"""Every weight that changes is changed here."""

from dataclasses import dataclass
from typing import Protocol

import semievol.local  # noqa: F401  silences what PEFT imports, before it does
from semievol.config import TrainingConfig
from semievol.costs.budget import Budget, paid_from
from semievol.plugins import Implementations, implementation
from semievol.training.job import Job

TRAINERS: Implementations = {
    "local": ("semievol.training.local:LocalTrainer", "local"),
    "hosted": ("semievol.training.hosted.trainer:HostedTrainer", "openai"),
    "fake": ("semievol.training.fake:FakeTrainer", None),
}

LAUNCHERS: Implementations = {
    "accelerate": ("semievol.training.launchers.accelerate:AccelerateLauncher", "local"),
    "ray": ("semievol.training.launchers.ray:RayLauncher", "ray"),
}
"""Trainers that start processes, in each of which the trainer of `training.kind` runs."""


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    weights: str
    """Where they lie: a folder with a PEFT adapter, or a model name of a service."""
    steps: int
    """Optimizer steps."""
    tokens: int
    """Tokens of all passes, prompt and response, without padding."""
    losses: tuple[float, ...]
    """Mean loss per logged interval, in nats per response token."""


class Progress(Protocol):
    """Told how far a training has come."""

    def __call__(self, step: int, steps: int, loss: float | None, note: str = "") -> None:
        """Called after each optimizer step, and now and then while a trainer waits.

        Args:
            step: steps done.
            steps: steps in all; 0 while they are not known.
            loss: of the last step, if it is known.
            note: a line for the person, said once.

        Raises:
            Stopped: the user asked to stop.
        """


def silent(step: int, steps: int, loss: float | None, note: str = "") -> None:
    """The progress that tells nobody."""


class Trainer(Protocol):
    """Turns examples into weights."""

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        """Weights trained on the job's examples, saved in its folder.

        Args:
            progress: called after each optimizer step.

        Raises:
            TrainingError: there is nothing to train on, the loss is not finite, or a service refuses.
            BudgetError: the training may cost more than is left.
        """


def open_trainer(recipe: TrainingConfig, budget: Budget | None = None) -> Trainer:
    """The trainer that `training.kind` names, or its launcher; one that has to be paid is made with the budget."""
    if recipe.launcher != "inline":
        launcher: Trainer = implementation("training.launcher", recipe.launcher, LAUNCHERS)()
        return launcher
    return trainer_in_process(recipe, budget)


def trainer_in_process(recipe: TrainingConfig, budget: Budget | None = None) -> Trainer:
    """The trainer that `training.kind` names, which trains in this process."""
    kind = implementation("training.kind", recipe.kind, TRAINERS)
    trainer: Trainer = kind(**paid_from(kind, budget))
    return trainer
