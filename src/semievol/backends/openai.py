"""Answers from a service that speaks the OpenAI API: chat completions, one by one or in batches."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from semievol.backends import NO_LIMIT
from semievol.backends.service.answers import estimated_tokens
from semievol.backends.service.dialect import ChatDialect
from semievol.backends.service.jobs import Jobs
from semievol.backends.service.realtime import Realtime
from semievol.config import Config
from semievol.costs.budget import Budget, Paid
from semievol.errors import BackendError
from semievol.records import Request, Response
from semievol.run_folder.folder import RunFolder


class OpenAIBackend(Paid):
    """A service's base model, and the models that were trained from it there."""

    scores = False

    def __init__(self, config: Config, weights: Mapping[str, str], budget: Budget | None = None) -> None:
        self._config, budget = config, budget or Budget()
        self._models = {"base": config.model.name, **weights}
        service, dialect = config.backend.service, ChatDialect(config)
        self._realtime = Realtime(service, dialect, self._model, budget)
        self._jobs = Jobs(service, dialect, self._model, RunFolder(config.output).jobs_path, budget)

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each unfinished request, as they arrive.

        Raises:
            BackendError: the service answers no request at all, or a request is to be scored.
        """
        if any(request.response is not None for request in requests):
            raise BackendError("a chat service cannot score a given response")
        open_ = (request for request in requests if request.id not in finished)
        if self._config.backend.service.mode == "batch":
            yield from self._jobs.answer(open_, stop)
        else:
            yield from self._realtime.answer(open_, stop)

    def prompt_tokens(self, request: Request) -> int:
        """About how many tokens the prompt has; the service's tokenizer is not here."""
        return estimated_tokens(request)

    def max_length(self) -> int:
        """`model.max_length`; if it is not set, the service knows its limit and refuses what is longer."""
        return self._config.model.max_length or NO_LIMIT

    def close(self) -> None:
        """Closes the connections."""
        self._realtime.close()

    def _model(self, weights: str) -> str:
        if weights not in self._models:
            raise BackendError(f"no weights named {weights!r}; there are {', '.join(self._models)}")
        return self._models[weights]
