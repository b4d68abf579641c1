"""Every weight that changes is changed here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from semievol.config import ModelConfig, TrainingConfig
from semievol.costs.budget import Budget, Paid
from semievol.plugins import Table, implementation
from semievol.records import TrainingExample

TRAINERS: Table = {
    "local": ("semievol.training.local:LocalTrainer", "local"),
    "hosted": ("semievol.training.hosted.trainer:HostedTrainer", "openai"),
    "fake": ("semievol.training.fake:FakeTrainer", None),
}

LAUNCHERS: Table = {
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
            loss: of the last step, where it is known.
            note: a line for the person, said once.

        Raises:
            Stopped: the user asked to stop.
        """


def silent(step: int, steps: int, loss: float | None, note: str = "") -> None:
    """The progress that tells nobody."""


class Trainer(Protocol):
    """Turns examples into weights."""

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
        """Weights trained on `examples`, saved under `out`; the same arguments give the same weights.

        Args:
            out: the folder to fill. It holds whatever a call with the same arguments left that was killed: a trainer
                goes on from there or starts again.
            start_from: weights that are trained further; the base model where it is `None`.
            progress: called after each optimizer step.

        Raises:
            TrainingError: nothing to train on, the loss is not finite, or a service refuses.
            BudgetError: the training may cost more than is left.
        """


def open_trainer(recipe: TrainingConfig, budget: Budget | None = None) -> Trainer:
    """The trainer that `training.kind` names, or its launcher; one that has to be paid is given the budget."""
    if recipe.launcher != "inline":
        launcher: Trainer = implementation("training.launcher", recipe.launcher, LAUNCHERS)()
        return launcher
    trainer = trainer_in_process(recipe)
    if isinstance(trainer, Paid) and budget is not None:
        trainer.budget = budget
    return trainer


def trainer_in_process(recipe: TrainingConfig) -> Trainer:
    """The trainer that `training.kind` names, which trains in this process."""
    trainer: Trainer = implementation("training.kind", recipe.kind, TRAINERS)()
    return trainer
