"""/fine_tuning/jobs: create, look up, list, events, cancel. A job moves on each time it is looked at."""

import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semievol.config import ModelConfig, TrainingConfig
from semievol.records import TrainingExample
from semievol.training import job as training_job
from semievol.training.fake import FakeTrainer
from service.chat import Models
from service.files import Files
from service.http import Call, Reply, refusal, reply

PATH = ("validating_files", "queued", "running")
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Job:
    """One job and how it will end."""

    id: str
    request: dict[str, Any]
    examples: list[TrainingExample]
    outcome: str
    looks: int
    status: str = PATH[0]
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    error: dict[str, Any] | None = None
    events: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> dict[str, Any]:
        """The hyperparameters, from the `method` or, as older clients send them, beside it."""
        given = self.request.get("method", {}).get("supervised", {}).get("hyperparameters", {})
        chosen = {**self.request.get("hyperparameters", {}), **given}
        return {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0} | chosen

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": 1_700_000_000,
            "finished_at": 1_700_000_100 if self.status in ENDED else None,
            "model": self.request["model"],
            "fine_tuned_model": self.fine_tuned_model,
            "organization_id": "org-1",
            "result_files": [],
            "status": self.status,
            "training_file": self.request["training_file"],
            "validation_file": None,
            "hyperparameters": self.recipe,
            "trained_tokens": self.trained_tokens,
            "error": self.error or {},
            "seed": self.request.get("seed", 0),
            "metadata": self.request.get("metadata"),
        }


class Tuning:
    """The endpoint; `outcomes` says how the next jobs end, succeeded if it is empty."""

    def __init__(self, files: Files, models: Models, folder: Path) -> None:
        self._files, self._models, self._folder = files, models, folder
        self.made: dict[str, Job] = {}
        self.outcomes: deque[str] = deque()
        self.looks = 3
        self.waiting = False
        """Nothing moves on while this is set."""
        self._numbers = itertools.count(1)

    def __call__(self, call: Call) -> Reply:
        _, _, rest = call.path.partition("/fine_tuning/jobs")
        id_, _, what = rest.strip("/").partition("/")
        if not id_:
            if call.method == "POST":
                return self._create(call.json())
            return reply({"object": "list", "data": [job.described() for job in self.made.values()], "has_more": False})
        if id_ not in self.made:
            return refusal(404, f"Could not find fine tune: {id_}")
        job = self.made[id_]
        if what == "events":
            return reply({"object": "list", "data": _events(job), "has_more": False})
        if what == "cancel":
            if job.status in ENDED:
                return refusal(400, f"Job has already ended: {job.status}")
            job.status = "cancelled"
        elif not self.waiting:
            self._move(job)
        return reply(job.described())

    def _create(self, body: dict[str, Any]) -> Reply:
        file = self._files.stored.get(body["training_file"])
        if file is None:
            return refusal(400, f"invalid training_file: {body['training_file']}", "invalid_request", "training_file")
        if self._models.find(body["model"]) is None:
            return refusal(404, f"The model `{body['model']}` does not exist.", "model_not_found", "model")
        examples = [as_example(number, json.loads(line)) for number, line in enumerate(file.content.splitlines())]
        outcome = self.outcomes.popleft() if self.outcomes else "succeeded"
        job = Job(f"ftjob-{next(self._numbers)}", body, examples, outcome, self.looks)
        job.events.append(f"Created fine-tuning job: {job.id}")
        self.made[job.id] = job
        return reply(job.described())

    def _move(self, job: Job) -> None:
        if job.status in ENDED:
            return
        job.looks -= 1
        if job.looks > 0:
            job.status = PATH[min(PATH.index(job.status) + 1, len(PATH) - 1)]
            if job.status == "running":
                job.events.append(f"Step 1/{len(job.examples)}: training loss=1.50")
        elif job.outcome == "succeeded":
            self._train(job)
        else:
            job.status = job.outcome
            job.error = {"code": "server_error", "message": "The job failed to train.", "param": None}

    def _train(self, job: Job) -> None:
        name = ":".join(["ft", job.request["model"].removeprefix("ft:"), job.request.get("suffix") or "", job.id])
        below = self._models.find(job.request["model"])
        start = below._weights.get("tuned") if below is not None else None
        out = self._folder / job.id
        trained = FakeTrainer().train(training_job.Job(ModelConfig(), job.examples, TrainingConfig(), out, 0, start))
        self._models.add(name, trained.weights)
        epochs = job.recipe["n_epochs"]
        job.fine_tuned_model = name
        job.trained_tokens = trained.tokens * (3 if epochs == "auto" else int(epochs))
        job.status = "succeeded"
        job.events.append("The job has successfully completed")


def as_example(number: int, row: dict[str, Any]) -> TrainingExample:
    *before, last = row["messages"]
    assert last["role"] == "assistant", "a training row ends with the answer"
    return TrainingExample(str(number), tuple(before), last["content"])


def _events(job: Job) -> list[dict[str, Any]]:
    return [
        {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{job.id}-{number}",
            "created_at": 1_700_000_000 + number,
            "level": "info",
            "message": message,
            "type": "message",
            "data": {},
        }
        for number, message in reversed(list(enumerate(job.events)))
    ]
