"""What every stage of a round is given."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from semievol.config import Config
from semievol.config.backend import SPEED_OPTIONS, VLLM_SPEED_OPTIONS
from semievol.costs.budget import Budget
from semievol.errors import ClusterError
from semievol.executors import ShardsFailed
from semievol.progress import Reporter
from semievol.records import Example
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.answerer import Answerer, Usage
from semievol.tasks import Task


@dataclass(frozen=True)
class Shard:
    """Some rows of a stage: the unit of work, of resume and of distribution."""

    index: int
    rows: Sequence[Any]


def shards(rows: Sequence[Any], size: int) -> list[Shard]:
    """The rows in order, `size` at a time; of rows on disk a shard holds their place."""
    return [Shard(i, rows[start : start + size]) for i, start in enumerate(range(0, len(rows), size))]


@dataclass(frozen=True)
class Round:
    """One pass through the method."""

    config: Config
    folder: RunFolder
    task: Task
    labeled: Sequence[Example]
    unlabeled: Sequence[Example]
    answerer: Answerer
    reporter: Reporter
    number: int = 1
    """From 1."""
    models: Mapping[str, Stage] = field(default_factory=dict)
    """The models that answer beside the base model, and the stages that trained them; `warm` is M_warm."""
    revision: int = 0
    """How often rows of earlier rounds have changed after the fact."""
    unseen: Mapping[str, str] | None = None
    """For labeled rows that are answered, by their ids: the model that has not seen each. `None` for unlabeled ones."""

    def stage(self, name: str) -> Stage:
        """The folder of a stage in this round."""
        return self.folder.stage(name, self.number)

    def answering_with(self, models: Mapping[str, Stage]) -> "Round":
        """The round with these models."""
        self.answerer.use(models)
        return dataclasses.replace(self, models=models)

    def model(self, weights: str, example: Example) -> str:
        """Which model answers a row for these weights: for M_warm the one that has not seen it, if it is labeled."""
        return weights if weights != "warm" or self.unseen is None else self.unseen[example.id]

    @property
    def warm_digest(self) -> str:
        """Stands for M_warm in the keys of later stages."""
        return self.models["warm"].digest if "warm" in self.models else "base"

    @property
    def budget(self) -> Budget:
        """What services may still charge."""
        return self.answerer.budget

    def begin(self, stage: Stage, key: Mapping[str, Any], revision: int = 0, **options: Any) -> bool:
        """Whether there is work left in a stage, see `Stage.begin`; none if another run has finished the same.

        Raises:
            RunFolderError: see `Stage.begin`; or what was finished is damaged.
        """
        sharing = self.answerer.sharing
        if stage.begin(key, revision, **options):
            if not sharing.take(stage):
                return True
            stage.check()
        else:
            stage.check()
            sharing.leave(stage)  # the process that finished it may have been killed before it could
        return False

    def finish(self, stage: Stage, summary: Mapping[str, Any]) -> None:
        """Marks a stage as done, for other runs too, see `Stage.finish`."""
        stage.finish(summary)
        self.answerer.sharing.leave(stage)

    @cached_property
    def has_solutions(self) -> bool:
        """Whether labeled rows come with worked solutions, so that pseudo-responses are whole solutions too."""
        return any(example.response for example in self.labeled)

    def key(self, name: str, **inputs: Any) -> dict[str, Any]:
        """What a stage's result depends on, beside the `inputs`: model, task, seed and the stage's code."""
        config = self.config
        return {
            "code": CODE_VERSION[name],
            "seed": config.seed,
            "round": self.number,
            "model": config.model.identity(),
            "task": config.task.identity(),
            **inputs,
        }

    def engine_key(self) -> dict[str, Any]:
        """What answers depend on beside model and prompt: the engine, and how its work is cut."""
        engine = self.config.backend
        in_process = engine.kind in ("transformers", "fake")
        unused: dict[str, Any] = {
            "service": True if in_process else set(SPEED_OPTIONS),
            "vllm": True if in_process or engine.kind == "openai" else set(VLLM_SPEED_OPTIONS),
        }
        backend = engine.model_dump(mode="json", exclude=unused)
        return {"backend": backend, "shard_rows": self.config.shard_rows}

    def run_shards(
        self,
        stage_shards: Shards,
        rows: Sequence[Any],
        function: Callable[[Shard], None],
        title: str,
        requests: int,
        unit: str = "answers",
    ) -> None:
        """Calls `function` for each shard of `rows` that has no part file yet, or requests that may yet be answered.

        Args:
            function: can be pickled.
            title: what the progress bar says.
            requests: how many answers the whole stage expects, for the progress bar.

        Raises:
            ClusterError: shards were given up; names them.
        """
        answerer, reporter = self.answerer, self.reporter
        stage_shards.take_up()
        every = shards(rows, self.config.shard_rows)
        closed, begun = stage_shards.closed(), stage_shards.begun()
        open_ = [shard for shard in every if shard.index not in closed]
        finished_rows = sum(len(s.rows) for s in every) - sum(len(s.rows) for s in open_)
        per_row = requests / max(len(rows), 1)
        answered = round(finished_rows * per_row) + sum(
            len(stage_shards.journal(s.index).read()) for s in open_ if s.index in begun
        )
        with reporter.stage(title, requests, unit, done=min(answered, requests)):
            try:
                for usage in answerer.executor.map(partial(_used, answerer, function), open_, reporter):
                    answerer.usage.include(usage)
                    if not answerer.executor.in_process:
                        reporter.advance(usage.requests)
            except ShardsFailed as error:
                raise ClusterError(_given_up(stage_shards, error, len(open_))) from error


def _used(answerer: Answerer, function: Callable[[Shard], None], shard: Shard) -> Usage:
    """What answering a shard cost."""
    before, answerer.usage = answerer.usage, Usage()
    try:
        function(shard)
        return answerer.usage
    finally:
        answerer.usage = before


def _given_up(stage_shards: Shards, error: ShardsFailed, of: int) -> str:
    """What became of the shards that failed for good, whose errors are kept in the stage's folder."""
    count = len(error.failures)
    lines = [
        f"{stage_shards.path.name}: {count} of {of} shards failed and were set aside; the same command tries them again"
    ]
    for failure in error.failures:
        error_path = stage_shards.set_aside(failure.shard.index, failure.error)
        lines.append(f"  {error_path} (tried {failure.attempts} times): {failure.reason}")
    return "\n".join(lines)


CODE_VERSION: Mapping[str, int] = {
    "warmup": 3,
    "collaborate": 9,
    "justify": 11,
    "select": 7,
    "evolve": 3,
    "evaluate": 10,
}
"""Raised when a change of a stage's code changes its result, so that old results are not taken for new ones."""


def seed_of(*parts: object) -> int:
    """A seed that depends on the parts alone: the run's seed, the row, the collaborator, never the clock."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
