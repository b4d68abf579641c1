"""Many requests to a service at once: as many as it takes, each again until it is answered or hopeless."""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from semievol.backends.service.background import Background
from semievol.backends.service.clients import open_async_client
from semievol.backends.service.failures import Failure, backoff, failed, of_error, stops_all, waits
from semievol.backends.service.pace import Pace, nap
from semievol.config import ServiceConfig
from semievol.costs.budget import Budget
from semievol.records import Message, Request, Response

logger = logging.getLogger(__name__)

PROBE_RETRIES = 3
"""How often the probe of a service that seems down is sent again."""
BUDGET_NAP = 0.05
"""Seconds after which a request that did not fit into the budget is tried again."""


class Language(Protocol):
    """How a service is asked, and how its answers are read."""

    path: str
    """Where requests go, after the base URL."""
    version: int
    """Raised whenever something has been learned: requests are put otherwise from then on."""

    def body(self, request: Request, model: str) -> dict[str, Any]:
        """The JSON body of a request."""

    def read(self, request: Request, content: object) -> Response | Failure:
        """The response in the JSON that comes back, or why it holds none."""

    def tokens(self, request: Request) -> int:
        """About how many tokens the prompt and the longest answer have."""

    def learn(self, failure: Failure, version: int) -> bool:
        """Whether a request that was refused is worth another attempt, because it is put otherwise now.

        Args:
            version: in which it was put.
        """

    def saw_answer(self, text: str, logprobs: tuple[float, ...] | None) -> None:
        """Takes in an answer."""


class Realtime:
    """One service, asked request by request.

    Requests are taken one by one and no more are held than may be in flight.
    """

    def __init__(self, service: ServiceConfig, dialect: Language, model: Callable[[str], str], budget: Budget) -> None:
        """Connects to nothing yet.

        Args:
            model: from the name of weights to the service's name of the model.
            budget: what the requests may cost; nothing is sent once it refuses one.
        """
        self._service, self._dialect, self._model = service, dialect, model
        self._background = Background()
        self._client: Any = None
        self._pace: Pace | None = None
        self._probing: asyncio.Lock | None = None
        self._answers = 0
        self._broken: Exception | None = None
        self._budget = budget

    def answer(self, requests: Iterable[Request], stop: Callable[[], bool]) -> Iterator[Response]:
        """A response for each request, as they arrive; a request that keeps failing is one with its reason.

        Raises:
            BackendError: no request would be answered; what is in flight is waited for and given out first.
        """
        self._broken = None
        waiting = iter(requests)

        def halted() -> bool:
            return self._broken is not None or self._budget.refused or stop()

        async def work(hand_over: Callable[[Response], None]) -> None:
            self._open()

            async def one_after_another() -> None:
                while not halted() and (request := next(waiting, None)) is not None:
                    try:
                        await self._admitted(request, halted)
                        if (response := await self._answered(request, halted)) is not None:
                            hand_over(response)
                    except Exception as error:  # the others finish what is in flight, then it is raised
                        self._broken = self._broken or error
                    finally:
                        self._budget.release(request.id)

            await asyncio.gather(*(one_after_another() for _ in range(self._service.max_concurrency)))
            if self._broken is not None:
                raise self._broken

        yield from self._background.iterate(work)

    def close(self) -> None:
        """Closes the connections; the next request opens new ones."""
        if self._client is not None:
            self._background.run(self._client.close())
            self._client = None
        self._background.close()

    def _open(self) -> None:
        if self._client is None:
            self._client = open_async_client(self._service)
            service = self._service
            self._pace = Pace(service.max_concurrency, service.requests_per_minute, service.tokens_per_minute)
            self._probing = asyncio.Lock()

    async def _admitted(self, request: Request, halted: Callable[[], bool]) -> None:
        """Waits until the request fits into the budget beside those in flight, or the run is halted."""
        most = request.sampling.max_tokens
        tokens = self._dialect.tokens(request) - most
        while not halted() and not self._budget.admit(request.id, request.weights, tokens, most):
            await nap(BUDGET_NAP, halted)

    async def _answered(self, request: Request, halted: Callable[[], bool], probe: bool = False) -> Response | None:
        """The response; `None` if the run was halted before there was one."""
        retries, answers = 0, self._answers
        most = min(PROBE_RETRIES, self._service.max_retries) if probe else self._service.max_retries
        while (result := await self._sent(request, halted)) is not None:
            if isinstance(result, Response):
                return result
            if result.kind in ("again", "overloaded") and retries < most:
                retries += 1
                await self._wait(result, retries, halted)
                continue
            if probe:
                raise stops_all(result, self._service)
            if result.kind != "row" and self._answers == answers:
                await self._prove_alive(request, halted)
                if halted():  # it says nothing of this request
                    return None
            return failed(request, result, retries)
        return None

    async def _sent(self, request: Request, halted: Callable[[], bool]) -> Response | Failure | None:
        """One attempt, and more if the service wants it put otherwise; `None` if it was halted before."""
        assert self._pace is not None
        estimated = self._dialect.tokens(request)
        async with self._pace.place(estimated, halted) as may_go:
            while may_go and not halted():
                version, sent = self._dialect.version, asyncio.get_running_loop().time()
                result = await self._attempt(request)
                if isinstance(result, Response):
                    self._budget.settle(request.id, request.weights, result.prompt_tokens, result.completion_tokens)
                    self._answers += 1
                    self._dialect.saw_answer(result.text, result.logprobs)
                    self._pace.answered(result.prompt_tokens + result.completion_tokens, estimated)
                elif result.kind == "overloaded":
                    self._pace.overloaded(sent, result.wait)
                elif result.kind == "all":
                    raise stops_all(result, self._service)
                elif result.kind == "refused" and self._dialect.learn(result, version):
                    continue
                return result
        return None

    async def _attempt(self, request: Request) -> Response | Failure:
        body = self._dialect.body(request, self._model(request.weights))
        try:
            return self._dialect.read(request, await self._client.post(self._dialect.path, cast_to=object, body=body))
        except Exception as error:
            return waits(of_error(error), self._service)

    async def _wait(self, failure: Failure, retry: int, halted: Callable[[], bool]) -> None:
        """Waits before another attempt; not to its end if the run is halted."""
        pause = backoff(retry, self._service.retry_wait, random.random())
        seconds = pause if failure.wait is None else failure.wait + pause * random.random()
        logger.debug("waiting %.2f s before another attempt: %s", seconds, failure.reason)
        await nap(seconds, halted)

    async def _prove_alive(self, request: Request, halted: Callable[[], bool]) -> None:
        """Asks a harmless question, to tell a request that fails alone from a service that is down.

        Raises:
            BackendError: that has no answer either.
        """
        assert self._probing is not None
        answers = self._answers
        async with self._probing:
            if self._answers == answers:  # otherwise another request or probe has been answered meanwhile
                question = Message(role="user", content="Say yes.")
                harmless = dataclasses.replace(request, id="", messages=(question,))
                await self._answered(harmless, halted, probe=True)
