"""Every weight that changes is changed here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from semievol.config import ModelConfig, TrainingConfig
from semievol.records import TrainingExample
from semievol.seams import Table, implementation

TRAINERS: Table = {
    "local": ("semievol.training.local:LocalTrainer", "local"),
    "fake": ("semievol.training.fake:FakeTrainer", None),
}


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
        progress: Callable[[int, int, float | None], None] = lambda step, steps, loss: None,
    ) -> Trained:
        """Weights trained on `examples`, saved under `out`; the same arguments give the same weights.

        Args:
            start_from: weights that are trained further; the base model where it is `None`.
            progress: called after each optimizer step with the steps done, the steps in all and the last loss.

        Raises:
            TrainingError: nothing to train on, or the loss is not finite.
        """


def open_trainer(recipe: TrainingConfig) -> Trainer:
    """The trainer that `training.kind` names."""
    trainer: Trainer = implementation("training.kind", recipe.kind, TRAINERS)()
    return trainer
