"""The service put together: the endpoints, what goes wrong, and the log of what was asked and answered."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from service.batches import Batches
from service.chat import ANSWER_FAULTS, Chat, Models, question
from service.faults import FAULTS, Faults, no_faults
from service.files import Files
from service.http import Call, HTTPServer, Reply, refusal, reply
from service.together import Together
from service.tuning import Tuning


@dataclass
class Log:
    """What was asked and answered. Chat requests are counted by `service.chat.question`."""

    asked: Counter[str] = field(default_factory=Counter)
    """How often each chat request arrived by itself."""
    answered: Counter[str] = field(default_factory=Counter)
    """How often each was answered well, by itself or in a batch."""
    faults: Counter[str] = field(default_factory=Counter)
    """How often each fault was injected."""
    paths: Counter[str] = field(default_factory=Counter)
    """How often each method and path was called, ids aside: `POST /v1/batches`."""
    at_once: int = 0
    most_at_once: int = 0
    """The most chat requests in flight."""


class Service:
    """A service on the loopback address while the `with` block lasts.

    Its model `base` is untrained, unless others are added with `models.add`. What may be set at any time: `faults`,
    `chat.unsupported`, `chat.temperatures`, `batches.outcomes`, `batches.waiting`, `tuning.outcomes`, ...
    """

    def __init__(self, faults: Faults = no_faults, noise: float = 0.3, delay: float = 0.0) -> None:
        self.faults, self.delay = faults, delay
        self.log = Log()
        self.most_at_once: int | None = None
        """Beyond so many chat requests in flight, the service refuses with 503."""
        self._folder = tempfile.TemporaryDirectory()
        self.models = Models(noise)
        self.models.add("base")
        self.files = Files()
        self.chat = Chat(self.models)
        self.batches = Batches(self.files, self.chat, self.log.answered)
        self.tuning = Tuning(self.files, self.models, Path(self._folder.name))
        self.together = Together(self.files, self.models, Path(self._folder.name))
        self._attempts: Counter[bytes] = Counter()
        self._http = HTTPServer(self._handle)

    def __enter__(self) -> "Service":
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.stop()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self._http.port}/v1"

    async def _handle(self, call: Call) -> Reply | None:
        family = call.path.removeprefix("/v1/").split("/")[0]
        self.log.paths[f"{call.method} /v1/{family}"] += 1
        key = call.path.encode() + call.body
        fault = self.faults(call, self._attempts[key])
        self._attempts[key] += 1
        if fault:
            self.log.faults[fault] += 1
        if call.path.endswith("/chat/completions"):
            return await self._chat(call, fault)
        return await self._spoiled(call, fault) or self._route(call, family)

    async def _chat(self, call: Call, fault: str | None) -> Reply | None:
        asked = question(call.body)
        self.log.asked[asked] += 1
        self.log.at_once += 1
        self.log.most_at_once = max(self.log.most_at_once, self.log.at_once)
        try:
            if self.most_at_once is not None and self.log.at_once > self.most_at_once:
                return refusal(503, "The engine is currently overloaded.")
            if self.delay:
                await asyncio.sleep(self.delay)
            if fault in FAULTS:
                return await FAULTS[fault]()
            made = self.chat(call, fault if fault in ANSWER_FAULTS else None)
            if fault in ("truncated", "cut"):
                return _broken(made, fault)
            if made.status == 200:
                self.log.answered[asked] += 1
            return made
        finally:
            self.log.at_once -= 1

    async def _spoiled(self, call: Call, fault: str | None) -> Reply | None:
        return await FAULTS[fault]() if fault in FAULTS else None

    def _route(self, call: Call, family: str) -> Reply:
        if family == "models":
            return self._models(call)
        families: dict[str, Callable[[Call], Reply]] = {
            "files": self.files,
            "batches": self.batches,
            "fine_tuning": self.tuning,
            "fine-tunes": self.together,
        }
        return families[family](call) if family in families else refusal(404, f"Unknown request URL: {call.path}")

    def _models(self, call: Call) -> Reply:
        name = call.path.partition("/models")[2].strip("/")
        listed = [
            {"id": each, "object": "model", "created": 1_700_000_000, "owned_by": "test"}
            for each in self.models.names()
        ]
        if not name:
            return reply({"object": "list", "data": listed})
        found = [each for each in listed if each["id"] == name]
        return reply(found[0]) if found else refusal(404, f"The model '{name}' does not exist.", "model_not_found")


def _broken(made: Reply, fault: str) -> Reply:
    """An answer of which half arrives: as a whole message, or with a connection that breaks."""
    return replace(made, body=made.body[: len(made.body) // 2]) if fault == "truncated" else replace(made, cut=True)
