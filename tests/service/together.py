"""Together's /files/upload and /fine-tunes: create, list, look up, events, cancel. A job moves on when looked at."""

import itertools
import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semievol.config import ModelConfig, TrainingConfig
from semievol.training import job as training_job
from semievol.training.fake import FakeTrainer
from service.chat import Models
from service.files import Files
from service.http import Call, Reply, refusal, reply
from service.tuning import as_example

PATH = ("pending", "queued", "running", "compressing", "uploading")
ENDED = ("completed", "error", "cancelled")


@dataclass
class Job:
    """One job and how it will end."""

    id: str
    request: dict[str, Any]
    rows: list[dict[str, Any]]
    outcome: str
    status: str = PATH[0]
    model_output_name: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "model": self.request["model"],
            "model_output_name": self.model_output_name,
            "training_file": self.request["training_file"],
            "n_epochs": self.request["n_epochs"],
        }

    def tell(self, kind: str, message: str, **fields: Any) -> None:
        level = "error" if kind == "job_error" else "info"
        self.events.append({"object": "fine-tune-event", "type": kind, "message": message, "level": level, **fields})


class Together:
    """The endpoints; `outcomes` says how the next jobs end, completed if it is empty."""

    def __init__(self, files: Files, models: Models, folder: Path) -> None:
        self._files, self._models, self._folder = files, models, folder
        self.made: dict[str, Job] = {}
        self.outcomes: deque[str] = deque()
        self._numbers = itertools.count(1)

    def __call__(self, call: Call) -> Reply:
        id_, _, what = call.path.partition("/fine-tunes")[2].strip("/").partition("/")
        if not id_:
            if call.method == "POST":
                return self._create(call.json())
            return reply({"data": [job.described() for job in self.made.values()]})
        if id_ not in self.made:
            return refusal(404, f"fine-tune {id_} not found")
        job = self.made[id_]
        if what == "events":
            return reply({"data": job.events})
        if what == "cancel":
            job.status = "cancelled"
        elif job.status not in ENDED:
            self._move(job)
        return reply(job.described())

    def _create(self, body: dict[str, Any]) -> Reply:
        if body["training_file"] not in self._files.stored:
            return refusal(400, f"file {body['training_file']} not found")
        if body.get("training_type", {}).get("type") != "Lora":
            return refusal(400, "training_type must be Lora or Full")
        rows = [json.loads(line) for line in self._files.stored[body["training_file"]].content.splitlines()]
        outcome = self.outcomes.popleft() if self.outcomes else "completed"
        job = Job(f"ft-{next(self._numbers)}", body, rows, outcome)
        job.tell("job_pending", "Fine tune request created")
        self.made[job.id] = job
        return reply(job.described())

    def _move(self, job: Job) -> None:
        place = PATH.index(job.status) + 1
        if place < len(PATH):
            job.status = PATH[place]
            job.tell("epoch_complete", f"now {job.status}", **({"step": place, "total_steps": 4} if place > 1 else {}))
        elif job.outcome == "completed":
            start = self._models.find(job.request.get("from_checkpoint") or job.request["model"])
            assert start is not None
            examples = [as_example(number, row) for number, row in enumerate(job.rows)]
            out, below = self._folder / job.id, start._weights.get("tuned")
            trained = FakeTrainer().train(training_job.Job(ModelConfig(), examples, TrainingConfig(), out, 0, below))
            job.model_output_name = f"me/{job.request['model']}-{job.request['suffix']}-{job.id}"
            self._models.add(job.model_output_name, trained.weights)
            job.status = "completed"
        else:
            job.status = job.outcome
            if job.status == "error":
                job.tell("job_error", "The dataset could not be tokenized.")
