"""Answers with vLLM: base and adapters in one engine, all requests in one queue that its prefix cache likes."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from semievol.backends.prompts import Prompts, TokenisedRequest
from semievol.backends.service.realtime import Realtime
from semievol.backends.vllm.engine import Engine, open_engine
from semievol.backends.vllm.token_ids import TokenIds, in_cache_order
from semievol.config import Config
from semievol.costs.budget import Budget
from semievol.errors import BackendError
from semievol.records import Request, Response


class VllmBackend:
    """A vLLM server, started at the first request or already there."""

    scores = True

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        self._config, self._folders = config, dict(weights)
        self._prompts = Prompts(config.model)
        self._engine: Engine | None = None
        self._dialect: TokenIds | None = None
        self._realtime: Realtime | None = None

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each unfinished request, as they arrive.

        Raises:
            BackendError: the server does not start, is not the one it should be, or has died; says why in one line.
        """
        rows = []
        for request in requests:
            if request.id in finished:
                continue
            if request.weights not in (names := ("base", *self._folders)):
                raise BackendError(f"no weights named {request.weights!r}; there are {', '.join(names)}")
            row = self._prompts.row(request)
            refusal = self._prompts.too_long(row)
            if refusal is not None:
                yield refusal
            elif request.response is not None and not row.response:
                yield self._prompts.scored(row, ())
            else:
                rows.append(row)
        if rows and not stop():
            yield from self._answered(rows, stop)

    def prompt_tokens(self, request: Request) -> int:
        """Number of tokens of the request's prompt, its given response included; starts no server."""
        return self._prompts.count(request)

    def max_length(self) -> int:
        """The most tokens that prompt and response may have together; starts no server."""
        return self._prompts.limit

    def close(self) -> None:
        """Ends the server, if it is the run's own."""
        if self._realtime is not None:
            self._realtime.close()
        if self._engine is not None:
            self._engine.close()
        self._engine = self._dialect = self._realtime = None

    def _answered(self, rows: Sequence[TokenisedRequest], stop: Callable[[], bool]) -> Iterator[Response]:
        if self._engine is None:
            self._engine = open_engine(self._config, self._folders, self._prompts, rows, stop)
        engine = self._engine
        if engine is None:
            return
        if self._realtime is None or self._dialect is None:
            self._dialect = TokenIds(self._prompts, engine.seeds)
            self._realtime = Realtime(engine.service, self._dialect, engine.names.__getitem__, Budget())
        requests = self._dialect.take(in_cache_order(rows))
        answers = self._realtime.answer(requests, lambda: stop() or engine.has_ended())
        yield from self._dialect.joined(answers)
        engine.check()
