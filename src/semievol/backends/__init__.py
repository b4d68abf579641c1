"""Every word a model says comes through here."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Protocol

from semievol.config import Config
from semievol.costs.budget import Budget, paid_from
from semievol.plugins import Implementations, implementation
from semievol.records import Request, Response
from semievol.run_folder.place import weights_on_disk

BACKENDS: Implementations = {
    "transformers": ("semievol.backends.transformers:TransformersBackend", "local"),
    "vllm": ("semievol.backends.vllm.backend:VllmBackend", "openai"),
    "openai": ("semievol.backends.openai:OpenAIBackend", "openai"),
    "fake": ("semievol.backends.fake:FakeBackend", None),
}

NO_LIMIT = 2**31 - 1
"""The `max_length` of a backend that does not know its limit."""


class Backend(Protocol):
    """An engine that holds a base model and its trained weights."""

    scores: bool
    """Whether it takes requests with `response` set; chat services cannot."""

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        """Holds on to what it needs; loads at the first request.

        Args:
            weights: where the weights lie that requests name: an adapter folder, or a model name of a service.
                `base` is always known and not among them.
        """

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each request that is not `finished`, in the order they become ready.

        An engine whose arithmetic depends on how requests are batched forms its batches from all `requests`, so
        that a resumed run gives the bytes of an uninterrupted one. Responses that become ready together are
        yielded one after another. `stop` is asked before work is begun; once it says yes, what is in flight is
        finished and yielded, and nothing more is begun.

        A request with `response` set is scored, by a backend that `scores`: the response comes back with its token
        log-probabilities.

        Raises:
            BackendError: the engine does not start or has died. A request that fails alone is a `Response`
                with `finish="error"`.
        """

    def prompt_tokens(self, request: Request) -> int:
        """Number of tokens of the request's prompt, its given response included."""

    def max_length(self) -> int:
        """The most tokens that prompt and response may have together."""

    def close(self) -> None:
        """Frees what no other work of this process uses; calling it twice is harmless."""


def open_backend(config: Config, weights: Mapping[str, str], budget: Budget | None = None) -> Backend:
    """The backend that `config.backend.kind` names; one that has to be paid is made with the budget.

    Weights at an address are fetched to the disk of the machine that answers.
    """
    local_weights = {name: weights_on_disk(where) for name, where in weights.items()}
    kind = implementation("backend.kind", config.backend.kind, BACKENDS)
    backend: Backend = kind(config, local_weights, **paid_from(kind, budget))
    return backend
