"""Fine-tuning at a service: `training.kind: hosted`.

A provider knows one service's endpoints; `trainer.py` does what is the same for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from semievol.config import ServiceConfig, TrainingConfig
from semievol.config.places import Place
from semievol.errors import TrainingError
from semievol.plugins import Implementations, implementation

PROVIDERS: Implementations = {
    "openai": ("semievol.training.hosted.openai:OpenAIProvider", "openai"),
    "together": ("semievol.training.hosted.together:TogetherProvider", "openai"),
}


JobState = Literal["waiting", "running", "succeeded", "failed", "cancelled"]
"""How a job stands."""


@dataclass(frozen=True)
class Rules:
    """What a provider asks of the rows and takes of the recipe."""

    name: str
    """The provider, for a person."""
    least_rows: int
    most_bytes: int
    """Of the uploaded file."""
    alternating: bool
    """Whether user and assistant must take turns."""
    recipe: frozenset[str]
    """Options of `training` that it takes; of the others the user is told."""
    notice: str | None = None
    """What a user should know before anything is paid: that the service is about to close, for instance."""


@dataclass(frozen=True)
class Order:
    """A training job to be started."""

    file: str
    """The provider's id of the uploaded rows."""
    model: str
    """The base model."""
    start_from: str | None
    """A tuned model that is trained further."""
    recipe: TrainingConfig
    seed: int


@dataclass(frozen=True)
class HostedJob:
    """A training job as the service describes it."""

    id: str
    state: JobState
    said: str
    """The service's own word for the state."""
    model: str | None = None
    """The tuned model's name, once there is one."""
    error: str | None = None
    """The service's own words about a failure."""
    tokens: int | None = None
    """Tokens that are billed; `None` if the service does not tell."""


@dataclass(frozen=True)
class Point:
    """How far a job has come."""

    step: int
    steps: int
    loss: float | None


class Unanswered(TrainingError):
    """The service could not be reached or was busy: whether it did what it was asked is not known."""


class Provider(Protocol):
    """One service's files and training jobs. Every method may raise `TrainingError`, and `Unanswered`."""

    rules: Rules

    def __init__(self, service: ServiceConfig) -> None:
        """Holds on to what it needs; connects, and needs the key, at the first call."""

    def upload(self, path: Place, name: str) -> str:
        """The id of the file at `path` at the service, if it is called `name`."""

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name, if there is one."""

    def start(self, order: Order) -> str:
        """The id of a new job. Asks the service once and no more."""

    def find_job(self, file: str) -> str | None:
        """The id of a job that trains on an uploaded file, if there is one."""

    def job(self, id_: str) -> HostedJob:
        """A job as it is now."""

    def points(self, id_: str) -> Sequence[Point]:
        """The last of a job's reported steps, earliest first; empty if none is reported."""

    def cancel(self, id_: str) -> None:
        """Asks the service to end a job."""


def open_provider(recipe: TrainingConfig) -> Provider:
    """The provider that `training.hosted.provider` names."""
    kind = recipe.hosted.provider
    provider: Provider = implementation("training.hosted.provider", kind, PROVIDERS)(
        recipe.hosted.service or ServiceConfig()
    )
    return provider
