"""Trains at a service: uploads the rows, starts a job, waits, takes the tuned model's name."""

import time
from collections.abc import Callable, Sequence

from semievol.config import TrainingConfig
from semievol.costs.budget import Budget, Paid
from semievol.errors import Stopped, TrainingError
from semievol.run_folder.place import make_folder
from semievol.training import Progress, Trained, silent
from semievol.training.hosted import HostedJob, Order, Point, Provider, Unanswered, open_provider
from semievol.training.hosted.record import Record, find_record, new_record
from semievol.training.hosted.rows import write_rows
from semievol.training.job import Job

PAUSES = (1.0, 5.0, 20.0)
"""Seconds before what had no answer is asked again."""
PATIENCE = 900.0
"""Seconds without a word of the service after which waiting for a job ends; the job goes on."""
SLICE = 0.5
"""Seconds of waiting between two looks whether the user wants to stop."""
LOCAL_OPTIONS = frozenset({"kind", "hosted", "gradient_checkpointing", "report_to"})
"""Options of the recipe that are no provider's business."""
MOST_LOSSES = 50
"""Figures of a loss curve that are kept."""


class HostedTrainer(Paid):
    """Fine-tuning at a service; what is started there outlives the process that started it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        """The name of a model that the service trained on the examples; the folder keeps the rows and the id there.

        A call that was interrupted is taken up where it was: nothing is uploaded or started twice.

        Raises:
            TrainingError: the service does not take the rows or the job, or the job failed or was cancelled.
            BudgetError: the training may cost more than is left.
            Stopped: the user asked to stop; the job goes on.
        """
        recipe, out = job.recipe, job.out
        provider = open_provider(recipe)
        earlier = find_record(out)
        record = earlier or new_record(out)
        if record.job is None:
            progress(0, 0, None, _left_out(provider, recipe))
            make_folder(out)
            uploaded = write_rows(record.rows_path, job.examples, provider.rules)
            record.rows, record.tokens = uploaded.rows, uploaded.tokens * recipe.num_train_epochs
        self._budget.admit_training(record.name, record.tokens, started=record.job is not None)
        record.save()
        file = record.file or _once(
            lambda: provider.upload(record.rows_path, record.name),
            lambda: provider.find_file(record.name),
            may_exist=earlier is not None,
        )
        record.file = file
        record.save()
        order = Order(file, job.model.name, job.start_from, recipe, job.seed)
        record.job = record.job or _once(
            lambda: provider.start(order), lambda: provider.find_job(file), may_exist=earlier is not None
        )
        record.save()
        watch = _Watch(provider, record.job, recipe.hosted.poll_seconds, progress)
        return self._finished(provider, record, watch.until_done(), list(watch.points.values()))

    def _finished(self, provider: Provider, record: Record, job: HostedJob, points: Sequence[Point]) -> Trained:
        """What a job came to, paid and written down."""
        succeeded = job.state == "succeeded" and job.model is not None
        tokens = (record.tokens if succeeded else 0) if job.tokens is None else job.tokens
        self._budget.settle_training(record.name, job.id, tokens)
        if job.state != "succeeded" or job.model is None:
            record.forget()
            raise TrainingError(_unhappy(provider, job))
        record.model = job.model
        record.save()
        return Trained(job.model, points[-1].step if points else 0, tokens, _losses(points))


class _Watch:
    """Follows a job to its end."""

    def __init__(self, provider: Provider, job: str, every: float, progress: Progress) -> None:
        self._provider, self._job, self._every, self._progress = provider, job, every, progress
        self._said = ""
        self.points: dict[int, Point] = {}
        """What the service reported of the training, by step."""

    def until_done(self) -> HostedJob:
        """The job, once it has ended.

        Raises:
            Stopped: the user asked to stop.
            TrainingError: the service has been silent for long, or does not know the job.
        """
        name, heard = self._provider.rules.name, time.monotonic()
        try:
            while True:
                try:
                    job = self._look()
                    heard = time.monotonic()
                    if job.state not in ("waiting", "running"):
                        return job
                except Unanswered as error:
                    if time.monotonic() - heard > PATIENCE:
                        raise TrainingError(
                            f"{name} has not answered for {PATIENCE / 60:.0f} minutes: {error}; the job {self._job} "
                            "goes on there, and the same command waits for it"
                        ) from error
                    self._tell(f"{error}; asking again")
                self._wait()
        except Stopped as stopped:
            raise Stopped(
                f"stopped as asked; the job {self._job} goes on at {name}, and is paid. "
                "The same command waits for it; semievol cancel ends it"
            ) from stopped

    def _look(self) -> HostedJob:
        job = self._provider.job(self._job)
        if job.state != "waiting":
            self.points |= {point.step: point for point in self._provider.points(self._job)}
        if job.said != self._said:
            self._said = job.said
            self._tell(f"job {job.id} at {self._provider.rules.name}: {job.said}")
        return job

    def _wait(self) -> None:
        until = time.monotonic() + self._every
        while (left := until - time.monotonic()) > 0:
            self._tell()
            time.sleep(min(SLICE, left))

    def _tell(self, note: str = "") -> None:
        last = self.points[max(self.points)] if self.points else Point(0, 0, None)
        self._progress(last.step, last.steps, last.loss, note)


def _once(make: Callable[[], str], find: Callable[[], str | None], may_exist: bool) -> str:
    """The id of what `make` makes, which is made once: if an answer got lost, `find` knows whether it was.

    Args:
        may_exist: whether an earlier process may have made it.
    """
    for pause in (*PAUSES, None):
        try:
            if may_exist and (existing := find()) is not None:
                return existing
            may_exist = True
            return make()
        except Unanswered:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _left_out(provider: Provider, recipe: TrainingConfig) -> str:
    """The options of the recipe that the provider decides itself, as a line for the person."""
    left = sorted(set(type(recipe).model_fields) - provider.rules.recipe - LOCAL_OPTIONS)
    return f"{provider.rules.name} takes no {', '.join(left)}: these options have no effect there" if left else ""


def _unhappy(provider: Provider, job: HostedJob) -> str:
    """Why there is no tuned model, and what to do."""
    name = provider.rules.name
    if job.state == "cancelled":
        return f"the job {job.id} was cancelled at {name}; the same command starts a new one, which is paid too"
    if job.state == "succeeded":
        return f"the job {job.id} succeeded at {name} and names no model; look there what became of it"
    return (
        f"the job {job.id} failed at {name}: {job.error or 'it does not say why'}\n"
        "Mend that, and the same command uploads the rows again and starts a new job."
    )


def _losses(points: Sequence[Point]) -> tuple[float, ...]:
    """The loss curve, in `MOST_LOSSES` means at most."""
    losses = [point.loss for point in points if point.loss is not None]
    size = -(-len(losses) // MOST_LOSSES) or 1
    parts = [losses[start : start + size] for start in range(0, len(losses), size)]
    return tuple(sum(part) / len(part) for part in parts)
