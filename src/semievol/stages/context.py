"""What every stage of a round is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from semievol.stages.worker import Shard, Usage, Worker, shards
from semievol.tasks import Task


@dataclass(frozen=True)
class Round:
    """One pass through the method."""

    number: int
    """From 1."""
    config: Config
    run: RunFolder
    task: Task
    labeled: Sequence[Example]
    unlabeled: Sequence[Example]
    worker: Worker
    reporter: Reporter
    revision: int = 0
    """How often rows of earlier rounds have changed after the fact."""
    warm_digest: str = ""
    """Stands for M_warm in the keys of later stages."""

    def stage(self, name: str) -> Stage:
        """The folder of a stage in this round."""
        return self.run.stage(name, self.number)

    @property
    def budget(self) -> Budget:
        """What services may still charge."""
        return self.worker.budget

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
            "model": config.model.model_dump(mode="json"),
            "task": config.task.model_dump(mode="json"),
            **inputs,
        }

    def engine_key(self) -> dict[str, Any]:
        """What answers depend on beside model and prompt: the engine, and how its work is cut."""
        engine = self.config.backend
        ours = engine.kind in ("transformers", "fake")
        unused: dict[str, Any] = {
            "service": True if ours else set(SPEED_OPTIONS),
            "vllm": True if ours or engine.kind == "openai" else set(VLLM_SPEED_OPTIONS),
        }
        backend = engine.model_dump(mode="json", exclude=unused)
        return {"backend": backend, "shard_rows": self.config.shard_rows}

    def run_shards(
        self,
        stored: Shards,
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
        worker, reporter = self.worker, self.reporter
        stored.take_up()
        every = shards(rows, self.config.shard_rows)
        closed, begun = stored.closed(), stored.begun()
        open_ = [shard for shard in every if shard.index not in closed]
        finished_rows = sum(len(s.rows) for s in every) - sum(len(s.rows) for s in open_)
        per_row = requests / max(len(rows), 1)
        done = round(finished_rows * per_row) + sum(
            len(stored.journal(s.index).read()) for s in open_ if s.index in begun
        )
        with reporter.stage(title, requests, unit, done=min(done, requests)):
            try:
                for used in worker.executor.map(partial(_used, worker, function), open_, reporter):
                    worker.usage.include(used)
                    if not worker.executor.in_process:
                        reporter.advance(used.requests)
            except ShardsFailed as failed:
                raise ClusterError(_given_up(stored, failed, len(open_))) from failed


def _used(worker: Worker, function: Callable[[Shard], None], shard: Shard) -> Usage:
    """What answering a shard cost."""
    before, worker.usage = worker.usage, Usage()
    try:
        function(shard)
        return worker.usage
    finally:
        worker.usage = before


def _given_up(stored: Shards, failed: ShardsFailed, of: int) -> str:
    """What became of the shards that failed for good, whose errors are kept in the stage's folder."""
    count = len(failed.failures)
    lines = [f"{stored.path.name}: {count} of {of} shards failed and were set aside; the same command tries them again"]
    for each in failed.failures:
        kept = stored.set_aside(each.shard.index, each.error)
        lines.append(f"  {kept} (tried {each.attempts} times): {each.reason}")
    return "\n".join(lines)


CODE_VERSION: Mapping[str, int] = {
    "warmup": 3,
    "collaborate": 9,
    "justify": 10,
    "select": 6,
    "evolve": 3,
    "evaluate": 10,
}
"""Raised when a change of a stage's code changes its result, so that old results are not taken for new ones."""
