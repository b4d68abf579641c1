"""In-weight propagation (Eq. 1): M_warm = FT(M_base, D_labeled)."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from typing import Any, overload

from semievol.config import LAUNCHER_OPTIONS, TrainingConfig
from semievol.errors import Stopped
from semievol.progress import Reporter
from semievol.records import Example, TrainingExample
from semievol.run_folder.place import weights_on_disk
from semievol.run_folder.stage import Stage
from semievol.stages.round import Round
from semievol.tasks import Task
from semievol.training import open_trainer
from semievol.training.folder import TrainingFolder, check_weights
from semievol.training.hosted.cancel import end_job
from semievol.training.job import Job


def warmup(round_: Round) -> Stage:
    """The stage folder with the warm model's adapter."""
    rows = TrainingRows(round_.task, round_.labeled)
    recipe = round_.config.recipe("warmup")
    stage = round_.stage("warmup")
    key = round_.key("warmup", recipe=recipe_key(recipe), rows=rows_digest(rows))
    if round_.begin(stage, key, round_.revision, renew=lambda old: forget(round_, stage, old)):
        train(round_, stage, rows, recipe, title="warmup")
    return stage


class TrainingRows(Sequence[TrainingExample]):
    """The chats that train a model to answer `examples`, which have answers, with the plain prompt.

    Each is made when it is asked for: examples may be on disk.
    """

    def __init__(self, task: Task, examples: Sequence[Example], weights: Sequence[float] | None = None) -> None:
        """The rows of `examples`; each counts by its weight, or as 1 if none are given."""
        self._task, self._examples, self._weights = task, examples, weights

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, index: int) -> TrainingExample: ...
    @overload
    def __getitem__(self, index: slice) -> "TrainingRows": ...
    def __getitem__(self, index: int | slice) -> "TrainingExample | TrainingRows":
        if isinstance(index, slice):
            weights = None if self._weights is None else self._weights[index]
            return TrainingRows(self._task, self._examples[index], weights)
        return self._row(self._examples[index], 1.0 if self._weights is None else self._weights[index])

    def __iter__(self) -> Iterator[TrainingExample]:
        return map(self._row, self._examples, repeat(1.0) if self._weights is None else self._weights)

    def _row(self, example: Example, weight: float) -> TrainingExample:
        return TrainingExample(example.id, self._task.messages(example), self._task.response(example), weight)


def recipe_key(recipe: TrainingConfig) -> dict[str, Any]:
    """What weights depend on in a recipe; of a service, which it is and what it is told, not how it is reached."""
    key = recipe.model_dump(mode="json", exclude={"hosted", "report_to", *LAUNCHER_OPTIONS})
    if recipe.kind == "hosted":
        hosted = recipe.hosted
        where = hosted.service.base_url if hosted.service else None
        multiplier = hosted.learning_rate_multiplier
        key["hosted"] = {"provider": hosted.provider, "base_url": where, "learning_rate_multiplier": multiplier}
    return key


def rows_digest(rows: Iterable[TrainingExample]) -> str:
    """Stands for training rows in a key."""
    total = hashlib.sha256()
    for row in rows:
        fields = {"id": row.id, "messages": row.messages, "response": row.response, "weight": row.weight}
        total.update(json.dumps(fields, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def train(
    round_: Round,
    stage: Stage,
    rows: Sequence[TrainingExample],
    recipe: TrainingConfig,
    title: str,
    start_from: str | None = None,
) -> None:
    """Trains on `rows` and leaves the weights, or their name, with the stage; the engine gives way to the training."""
    round_.answerer.close()
    config = round_.config
    started = time.monotonic()
    folder = TrainingFolder(stage)
    out = folder.prepared(hosted=recipe.kind == "hosted")
    if start_from is not None:
        check_weights(start_from)
        start_from = weights_on_disk(start_from)
    trainer = open_trainer(recipe, round_.budget)
    with StepProgress(round_.reporter, title, len(rows)) as progress:
        trained = trainer.train(Job(config.model, rows, recipe, out, config.seed, start_from), progress)
    folder.take(out)
    round_.finish(
        stage,
        {
            "rows": len(rows),
            "steps": trained.steps,
            "tokens": trained.tokens,
            "losses": [round(loss, 5) for loss in trained.losses],
            "seconds": round(time.monotonic() - started, 1),
            **({} if trained.weights == str(out) else {"model": trained.weights}),
        },
    )


def forget(round_: Round, stage: Stage, old_key: Mapping[str, Any]) -> None:
    """Empties a stage whose rows have changed since; a job at a service that trains on them is ended."""
    if line := end_job(round_.config, stage, "its rows have changed since"):
        round_.reporter.say(line)
    stage.empty(old_key)


class StepProgress:
    """Passes a trainer's steps on to the reporter; stops the training when the user asks."""

    def __init__(self, reporter: Reporter, title: str, rows: int) -> None:
        self._reporter, self._title, self._rows = reporter, title, rows
        self._frame: AbstractContextManager[None] | None = None
        self._done = 0

    def __enter__(self) -> "StepProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._frame is not None:
            self._frame.__exit__(None, None, None)

    def __call__(self, step: int, steps: int, loss: float | None, note: str = "") -> None:
        """Called by the trainer after each optimizer step, and while it waits."""
        if note:
            self._reporter.say(f"{self._title}: {note}")
        if self._frame is None and steps:
            self._done = max(0, step - 1)  # by an earlier process
            self._frame = self._reporter.stage(f"{self._title} ({self._rows} rows)", steps, "steps", self._done)
            self._frame.__enter__()
        if step > self._done:
            self._reporter.advance(step - self._done, note="" if loss is None else f"loss {loss:.3f}")
            self._done = step
        if self._reporter.stopping:
            raise Stopped("stopped as asked; the same command goes on")
