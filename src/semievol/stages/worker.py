"""Answers the requests of one shard after another; each process that does shards has one worker."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

from semievol.backends import Backend, open_backend
from semievol.config import Config
from semievol.costs.budget import Budget
from semievol.data import digest
from semievol.errors import Stopped
from semievol.executors import Executor
from semievol.executors.inline import InlineExecutor
from semievol.progress import Reporter
from semievol.records import Example, Request, Response
from semievol.retrieval import Retriever, open_retriever
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.journal import Journal
from semievol.tasks import Task


@dataclass
class Usage:
    """What answering cost."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: int = 0
    seconds: float = 0.0

    def add(self, response: Response) -> None:
        """Counts a response."""
        self.requests += 1
        self.prompt_tokens += response.prompt_tokens
        self.completion_tokens += response.completion_tokens
        self.failed += response.finish == "error"

    def include(self, other: "Usage") -> None:
        """Counts what was done elsewhere."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def since(self, before: "Usage") -> dict[str, float]:
        """The difference to an earlier state, as figures of a stage."""
        return {
            name: round(value - getattr(before, name), 1) if name == "seconds" else value - getattr(before, name)
            for name, value in asdict(self).items()
        }


class Shared(Protocol):
    """What several runs have in common, so that none computes what another has computed."""

    def run_dir(self, path: str) -> RunFolder:
        """The run folder at `path`, whose stages may be taken over from other runs."""

    def answering(self, backend: Backend, config: Config, weights: Mapping[str, str]) -> Backend:
        """The backend, asked only what no other run has asked."""

    def paid_beside(self, folder: RunFolder) -> float:
        """Dollars that services have charged the other runs."""


class Worker:
    """One engine and one index over the labeled examples, opened when first used; and where shards are done.

    It can be sent to another process, where it becomes the worker of that process.
    """

    def __init__(
        self,
        config: Config,
        task: Task,
        labeled: Sequence[Example],
        weights: dict[str, str],
        reporter: Reporter,
        budget: Budget | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.config, self.task, self.labeled, self.weights = config, task, labeled, weights
        self.reporter, self.budget = reporter, budget or Budget()
        self.executor = executor or InlineExecutor(config)
        self.usage = Usage()
        self.shared: Shared | None = None

    @cached_property
    def backend(self) -> Backend:
        """The engine."""
        backend = open_backend(self.config, self.weights, self.budget)
        return backend if self.shared is None else self.shared.answering(backend, self.config, self.weights)

    @cached_property
    def retriever(self) -> Retriever:
        """The index over the labeled examples."""
        retriever = open_retriever(self.config.retrieval)
        retriever.fit(self.labeled)
        return retriever

    def learn(self, labeled: Sequence[Example]) -> None:
        """Takes other labeled examples; the index is made anew when it is needed."""
        self.labeled = labeled
        self.__dict__.pop("retriever", None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _worker_of_this_process, (self.config, self.task, self.labeled, dict(self.weights), self.reporter)

    def close(self) -> None:
        """Frees the engines, here and on other machines; they are opened again when they are needed."""
        self.executor.close()
        if "backend" in self.__dict__:
            self.backend.close()
            del self.__dict__["backend"]

    def answer(self, requests: Sequence[Request], journal: Journal) -> dict[str, Response]:
        """All responses by request id; each is in the journal before the next is counted.

        Raises:
            Stopped: the user asked to stop; what was in flight is in the journal.
            BudgetError: the next request could cost more than is left; so is what was in flight.
        """
        responses = journal.read()
        started = time.monotonic()
        with journal.writer() as write:
            for response in self.backend.generate(requests, responses.keys(), self._stopping):
                write(response)
                responses[response.id] = response
                self.usage.add(response)
                self.reporter.advance()
        self.usage.seconds += time.monotonic() - started
        if self._stopping():
            raise Stopped("stopped as asked; the same command goes on from here")
        self.budget.check()
        return responses

    def _stopping(self) -> bool:
        return self.reporter.stopping


_here: Worker | None = None


def _worker_of_this_process(
    config: Config, task: Task, labeled: Sequence[Example], weights: dict[str, str], reporter: Reporter
) -> Worker:
    """The worker that does another process' shards here; its engine stays open while its weights stay the same."""
    global _here
    if _here is None or (_here.config, _here.weights) != (config, weights):
        if _here is not None:
            _here.close()
        _here = Worker(config, task, labeled, weights, reporter)
    elif digest(_here.labeled) != digest(labeled):
        _here.learn(labeled)
    return _here


def seed_of(*parts: object) -> int:
    """A seed that depends on the parts alone: the run's seed, the row, the collaborator, never the clock."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


@dataclass(frozen=True)
class Shard:
    """Some rows of a stage: the unit of work, of resume and of distribution."""

    index: int
    rows: Sequence[Any]


def shards(rows: Sequence[Any], size: int) -> list[Shard]:
    """The rows in order, `size` at a time; of rows on disk a shard holds their place."""
    return [Shard(i, rows[start : start + size]) for i, start in enumerate(range(0, len(rows), size))]
