"""OpenAI's files and fine-tuning jobs, and those of services with the same endpoints."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from urllib.parse import urlsplit

import openai
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from semievol.config import ServiceConfig
from semievol.config.places import Place
from semievol.training.hosted import HostedJob, JobState, Order, Point, Rules
from semievol.training.hosted.client import answered, connect

NOTICE = (
    "OpenAI is closing fine-tuning: organisations that had not used it by 7 May 2026, or not called a tuned model for "
    "60 days since 2 July 2026, can start no job; nobody can after 6 January 2027. Tuned gpt-4o-mini, gpt-4o, "
    "gpt-4.1-mini and gpt-4.1 stop answering on 14 January 2027 "
    "(developers.openai.com/api/docs/deprecations, as of 2026-11-05)."
)
REFUSED = (
    f"{NOTICE}\nTrain elsewhere: training.hosted.provider together, another service in training.hosted.service, "
    "or training.kind local."
)
STATES: Mapping[str, JobState] = {
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Its words for a job's state; any other is one of waiting."""
STEP = re.compile(r"Step (\d+)/(\d+): training loss=([\d.]+\d)")
PAGE = 100
"""Most events that it gives at once."""


class OpenAIProvider:
    """Fine-tuning with `/files` and `/fine_tuning/jobs`."""

    def __init__(self, service: ServiceConfig) -> None:
        self._service = service
        is_openai = service.base_url is None or urlsplit(service.base_url).hostname == "api.openai.com"
        self.rules = Rules(
            name="OpenAI" if is_openai else f"{urlsplit(service.base_url or '').hostname}",
            least_rows=10,
            most_bytes=512 * 2**20,
            alternating=False,
            recipe=frozenset({"num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"}),
            notice=NOTICE if is_openai else None,
        )

    @cached_property
    def _client(self) -> openai.OpenAI:
        return connect(self._service)

    def upload(self, path: Place, name: str) -> str:
        """The id of the uploaded file."""
        with answered("uploading the rows"), path.open("rb") as handle:
            # Not tried again by the client: the trainer looks first whether it has arrived.
            return self._client.with_options(max_retries=0).files.create(file=(name, handle), purpose="fine-tune").id

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name."""
        with answered("looking for the uploaded rows"):
            return next(
                (file.id for file in self._client.files.list(purpose="fine-tune") if file.filename == name), None
            )

    def start(self, order: Order) -> str:
        """The id of a new job."""
        recipe = order.recipe
        with answered("starting the job", REFUSED if self.rules.notice else None):
            job = self._client.with_options(max_retries=0).fine_tuning.jobs.create(
                training_file=order.file,
                model=order.start_from or order.model,
                suffix=recipe.hosted.suffix,
                seed=order.seed % 2**31,
                method={
                    "type": "supervised",
                    "supervised": {
                        "hyperparameters": {
                            "n_epochs": recipe.num_train_epochs,
                            "batch_size": recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps,
                            "learning_rate_multiplier": recipe.hosted.learning_rate_multiplier,
                        }
                    },
                },
            )
        return job.id

    def find_job(self, file: str) -> str | None:
        """The id of a job on this file."""
        with answered("looking for the job"):
            return next((job.id for job in self._client.fine_tuning.jobs.list() if job.training_file == file), None)

    def job(self, id_: str) -> HostedJob:
        """The job as it is now."""
        with answered(f"asking for the job {id_}"):
            content = self._client.fine_tuning.jobs.retrieve(id_)
        return HostedJob(
            id=content.id,
            state=STATES.get(content.status, "waiting"),
            said=content.status,
            model=content.fine_tuned_model,
            error=_error(content),
            tokens=content.trained_tokens,
        )

    def points(self, id_: str) -> Sequence[Point]:
        """The newest metrics among the job's events."""
        with answered(f"asking for the events of {id_}"):
            events = self._client.fine_tuning.jobs.list_events(id_, limit=PAGE).data
        points = [_point(event) for event in events]
        return sorted((point for point in points if point is not None), key=lambda point: point.step)

    def cancel(self, id_: str) -> None:
        """Ends the job."""
        with answered(f"cancelling the job {id_}"):
            self._client.fine_tuning.jobs.cancel(id_)


def _error(job: FineTuningJob) -> str | None:
    if job.error is None or not job.error.message:
        return None
    return f"{job.error.message} ({job.error.code})" if job.error.code else job.error.message


def _point(event: FineTuningJobEvent) -> Point | None:
    """The figures of an event that reports a step: in its data, whose fields are not documented, or in its words."""
    data = event.data if isinstance(event.data, Mapping) else {}
    words = STEP.match(event.message)
    step = data.get("step", words and int(words[1]))
    if not isinstance(step, int):
        return None
    steps, loss = data.get("total_steps", words and int(words[2])), data.get("train_loss", words and float(words[3]))
    return Point(step, steps if isinstance(steps, int) else 0, float(loss) if isinstance(loss, int | float) else None)
