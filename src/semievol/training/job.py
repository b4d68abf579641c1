"""A training, as a trainer and its processes are told it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from semievol.config import ModelConfig, TrainingConfig
from semievol.config.places import Place
from semievol.records import TrainingExample


@dataclass(frozen=True)
class Job:
    """All that the trained weights depend on, and where they go; the same job gives the same weights."""

    model: ModelConfig
    examples: Sequence[TrainingExample]
    recipe: TrainingConfig
    out: Place
    """The folder to fill. It holds whatever the same job left that was killed: a trainer goes on from there or starts
    again."""
    seed: int
    start_from: str | None = None
    """Weights that are trained further; the base model if it is `None`."""

    def write(self, path: Path) -> None:
        """Writes a line for the job, then one for each example."""
        job = {
            "model": self.model.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "out": str(self.out),
            "seed": self.seed,
            "start_from": self.start_from,
        }
        with path.open("w", encoding="utf-8") as lines:
            lines.write(json.dumps(job) + "\n")
            lines.writelines(json.dumps(asdict(example)) + "\n" for example in self.examples)

    @classmethod
    def read(cls, path: Path) -> "Job":
        """The job that `write` wrote."""
        with path.open(encoding="utf-8") as lines:
            job = json.loads(next(lines))
            rows = [json.loads(line) for line in lines]
        return cls(
            model=ModelConfig.model_validate(job["model"]),
            examples=[TrainingExample(**{**row, "messages": tuple(row["messages"])}) for row in rows],
            recipe=TrainingConfig.model_validate(job["recipe"]),
            out=Path(job["out"]),
            seed=job["seed"],
            start_from=job["start_from"],
        )
