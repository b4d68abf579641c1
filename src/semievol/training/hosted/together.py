"""Together's own files and fine-tuning endpoints: other addresses, other words, a LoRA recipe of the user's."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import openai

from semievol.config import ServiceConfig, TrainingConfig
from semievol.config.places import Place
from semievol.training.hosted import HostedJob, JobState, Order, Point, Rules
from semievol.training.hosted.client import answered, connect

ADDRESS = "https://api.together.ai/v1"
STATES: Mapping[str, JobState] = {
    "pending": "waiting",
    "queued": "waiting",
    "completed": "succeeded",
    "error": "failed",
    "cancelled": "cancelled",
}
"""Its words for a job's state; any other is one of running."""


class TogetherProvider:
    """Fine-tuning with `/files/upload` and `/fine-tunes`."""

    rules = Rules(
        name="Together",
        least_rows=1,
        most_bytes=25 * 2**30,
        alternating=True,
        recipe=frozenset(
            {
                "num_train_epochs",
                "learning_rate",
                "lr_scheduler_type",
                "warmup_ratio",
                "per_device_train_batch_size",
                "gradient_accumulation_steps",
                "weight_decay",
                "max_grad_norm",
                "lora_r",
                "lora_alpha",
                "lora_dropout",
                "lora_target_modules",
            }
        ),
        notice=(
            "A model tuned at Together answers once it is deployed on a dedicated endpoint, paid by the minute; models "
            " whose name ends in -Reference cannot be deployed (docs.together.ai/docs/fine-tuning-models)."
        ),
    )

    def __init__(self, service: ServiceConfig) -> None:
        self._service = service

    @cached_property
    def _client(self) -> openai.OpenAI:
        return connect(self._service, ADDRESS)

    def upload(self, path: Place, name: str) -> str:
        """The id of the uploaded file."""
        with answered("uploading the rows"), path.open("rb") as handle:
            return str(
                self._client.with_options(max_retries=0).post(
                    "/files/upload",
                    cast_to=dict[str, Any],
                    body={"purpose": "fine-tune", "file_name": name, "file_type": "jsonl"},
                    files={"file": (name, handle)},
                    options={"headers": {"Content-Type": "multipart/form-data"}},
                )["id"]
            )

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name."""
        files = self._get("/files", "looking for the uploaded rows")["data"]
        return next((file["id"] for file in files if file["filename"] == name), None)

    def start(self, order: Order) -> str:
        """The id of a new job."""
        continued = {} if order.start_from is None else {"from_checkpoint": order.start_from}
        body = {"training_file": order.file, "model": order.model, **continued, **_recipe(order.recipe)}
        with answered("starting the job"):
            client = self._client.with_options(max_retries=0)
            return str(client.post("/fine-tunes", cast_to=dict[str, Any], body=body)["id"])

    def find_job(self, file: str) -> str | None:
        """The id of a job on this file."""
        jobs = self._get("/fine-tunes", "looking for the job")["data"]
        return next((job["id"] for job in jobs if job.get("training_file") == file), None)

    def job(self, id_: str) -> HostedJob:
        """The job as it is now."""
        content = self._get(f"/fine-tunes/{id_}", f"asking for the job {id_}")
        state = STATES.get(content["status"], "running")
        return HostedJob(
            id=content["id"],
            state=state,
            said=content["status"],
            model=content.get("model_output_name") or content.get("output_name"),
            error=self._error(id_) if state == "failed" else None,
        )

    def points(self, id_: str) -> Sequence[Point]:
        """The steps that events tell of; Together reports no loss."""
        points = [Point(e["step"], e.get("total_steps") or 0, None) for e in self._events(id_) if e.get("step")]
        return sorted(points, key=lambda point: point.step)

    def cancel(self, id_: str) -> None:
        """Ends the job."""
        with answered(f"cancelling the job {id_}"):
            self._client.post(f"/fine-tunes/{id_}/cancel", cast_to=dict[str, Any])

    def _get(self, path: str, doing: str) -> dict[str, Any]:
        with answered(doing):
            return self._client.get(path, cast_to=dict[str, Any])

    def _events(self, id_: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self._get(f"/fine-tunes/{id_}/events", f"asking for the events of {id_}")["data"]
        return events

    def _error(self, id_: str) -> str | None:
        """The last word of a job that failed."""
        messages = [e["message"] for e in self._events(id_) if "error" in f"{e.get('level')}{e.get('type')}".lower()]
        return messages[-1] if messages else None


def _recipe(recipe: TrainingConfig) -> dict[str, Any]:
    """The recipe in Together's words; a constant rate is a linear one that ends where it began."""
    constant = recipe.lr_scheduler_type == "constant"
    targets = recipe.lora_target_modules
    return {
        "n_epochs": recipe.num_train_epochs,
        "batch_size": recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler": {
            "lr_scheduler_type": "linear" if constant else recipe.lr_scheduler_type,
            "lr_scheduler_args": {"min_lr_ratio": 1.0 if constant else 0.0}
            | ({"num_cycles": 0.5} if recipe.lr_scheduler_type == "cosine" else {}),
        },
        "warmup_ratio": recipe.warmup_ratio,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "suffix": recipe.hosted.suffix,
        "training_method": {"method": "sft", "train_on_inputs": False},
        "training_type": {
            "type": "Lora",
            "lora_r": recipe.lora_r,
            "lora_alpha": recipe.lora_alpha,
            "lora_dropout": recipe.lora_dropout,
            "lora_trainable_modules": targets if isinstance(targets, str) else ",".join(targets),
        },
    }
