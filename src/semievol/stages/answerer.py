"""What answers the requests of one shard after another; each process that does shards has one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

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
from semievol.run_folder.journal import Journal
from semievol.run_folder.stage import Stage
from semievol.stages.sharing import Alone, Sharing
from semievol.training.folder import TrainingFolder, check_weights


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


class Answerer:
    """The models and the index over the labeled examples that a round answers with, opened when first used.

    It can be sent to another process, where it becomes the answerer of that process.
    """

    def __init__(
        self,
        config: Config,
        labeled: Sequence[Example],
        weights: Mapping[str, str],
        reporter: Reporter,
        budget: Budget | None = None,
        executor: Executor | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            weights: where the weights of each model but `base` lie.
            executor: where shards are answered; in this process if it is not given.
            sharing: what this run has in common with others.
        """
        self.config, self.labeled, self.weights = config, labeled, dict(weights)
        self.reporter, self.budget = reporter, budget or Budget()
        self.executor = executor or InlineExecutor(config)
        self.sharing = sharing or Alone()
        self.usage = Usage()

    @cached_property
    def backend(self) -> Backend:
        """The engine.

        Raises:
            RunFolderError: weights are not what their training has left.
        """
        for where in self.weights.values():
            check_weights(where)
        backend = open_backend(self.config, self.weights, self.budget)
        return self.sharing.answering(backend, self.config, self.weights)

    @cached_property
    def retriever(self) -> Retriever:
        """The index over the labeled examples."""
        retriever = open_retriever(self.config.retrieval)
        retriever.fit(self.labeled)
        return retriever

    def use(self, models: Mapping[str, Stage]) -> None:
        """Answers with these models, named with the stages that trained them, and with the base model."""
        weights = {name: TrainingFolder(stage).weights for name, stage in models.items()}
        if weights != self.weights:
            self.close()
            self.weights = weights

    def learn(self, labeled: Sequence[Example]) -> None:
        """Takes other labeled examples; the index is made anew when it is needed."""
        self.labeled = labeled
        self.__dict__.pop("retriever", None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _answerer_of_this_process, (self.config, self.labeled, self.weights, self.reporter)

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
        responses = journal.read(requests)
        started = time.monotonic()
        with journal.writer(requests) as write:
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


def nearest_examples(
    answerer: Answerer, rows: Sequence[Example], k: int, among_labeled: bool = False
) -> list[list[Example]]:
    """The k nearest labeled examples of each row, nearest first (Eq. 2).

    Args:
        among_labeled: whether the rows are labeled examples themselves, of which none is its own neighbour.
    """
    if k == 0:
        return [[] for _ in rows]
    neighbours = answerer.retriever.nearest([example.prompt for example in rows], k + among_labeled)
    near = ([answerer.labeled[position] for position in positions] for positions in neighbours)
    if not among_labeled:
        return list(near)
    return [[one for one in of_row if one.id != row.id][:k] for row, of_row in zip(rows, near, strict=True)]


_here: Answerer | None = None


def _answerer_of_this_process(
    config: Config, labeled: Sequence[Example], weights: dict[str, str], reporter: Reporter
) -> Answerer:
    """What answers another process' shards here; its engine stays open while its weights stay the same."""
    global _here
    if _here is None or (_here.config, _here.weights) != (config, weights):
        if _here is not None:
            _here.close()
        _here = Answerer(config, labeled, weights, reporter)
    elif digest(_here.labeled) != digest(labeled):
        _here.learn(labeled)
    return _here
