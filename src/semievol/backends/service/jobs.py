"""Requests in batches: uploaded in files, answered within a day, collected from wherever an earlier process left off.

A job is on disk before it is waited for, and is forgotten when its last answer has been taken.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from semievol.backends.service.answers import estimated_tokens, read_answer
from semievol.backends.service.batch_api import BatchAPI, BatchState
from semievol.backends.service.clients import address
from semievol.backends.service.dialect import ChatDialect
from semievol.backends.service.failures import Failure, backoff, failed, of_status, stops_all
from semievol.backends.service.job_file import JobFile, fingerprint, job_files
from semievol.config import ServiceConfig
from semievol.config.places import Place
from semievol.costs.budget import Budget
from semievol.errors import BackendError
from semievol.records import Request, Response

logger = logging.getLogger(__name__)

MOST_LINES = 50_000
"""Requests in a file, as OpenAI limits them."""
MOST_BYTES = 190_000_000
"""Bytes of a file; OpenAI takes 200 MB."""
LONGEST_NAP = 0.2
"""Seconds after which a wait looks whether the run has been stopped."""


class Jobs:
    """A service that is asked in batches."""

    def __init__(
        self, service: ServiceConfig, dialect: ChatDialect, model: Callable[[str], str], folder: Place, budget: Budget
    ) -> None:
        """Connects to nothing yet.

        Args:
            model: from the name of weights to the service's name of the model.
            folder: where jobs are kept while they are waited for.
            budget: what the requests may cost; nothing more is uploaded once it refuses one.
        """
        self._service, self._dialect, self._model, self._folder = service, dialect, model, folder
        self._api = BatchAPI(service)
        self._answers = 0
        self._budget = budget

    def answer(self, requests: Iterable[Request], stop: Callable[[], bool]) -> Iterator[Response]:
        """A response for each request, job by job; a request that keeps failing is one with its reason.

        Once `stop` says yes nothing more is waited for: the jobs are on disk, and the next call finds them.

        Raises:
            BackendError: the service takes no batch, or does not know a job any more.
        """
        open_ = {request.id: request for request in requests}
        retries: Counter[str] = Counter()
        jobs_going = self._found(open_)
        looks = turned_away = 0
        while open_ and not stop():
            sent = {id_ for job in jobs_going for id_ in job.lines}
            to_send = [request for id_, request in open_.items() if id_ not in sent and self._fits(request)]
            if self._budget.refused and not jobs_going and not to_send:
                return
            is_full = turned_away and jobs_going  # the service has to be rid of a job first
            if to_send and not is_full:
                jobs_going += self._submitted(to_send)
            ended_jobs = [(job, state) for job in jobs_going if (state := self._api.look(job)).has_ended]
            for job, state in ended_jobs:
                for response in self._collected(job, state, open_, retries):
                    yield response
                    del open_[response.id]
                job.forget()
                jobs_going.remove(job)
                turned_away = turned_away + 1 if state.status == "failed" else 0
                self._judge(state, turned_away)
            looks = 0 if ended_jobs and not turned_away else looks + 1
            if looks and open_:
                _nap(backoff(looks, self._service.retry_wait, 1.0), stop)

    def _fits(self, request: Request, sent: bool = False) -> bool:
        """Whether the budget takes the request beside those of the jobs that go on."""
        tokens, most = estimated_tokens(request), request.sampling.max_tokens
        return self._budget.admit(request.id, request.weights, tokens, most, sent)

    def _found(self, open_: Mapping[str, Request]) -> list[JobFile]:
        """The jobs of an earlier process that answer some of these requests as they are asked now."""
        kept = list(job_files(self._folder))
        marks = {id_: self._mark(request) for id_, request in open_.items()} if kept else {}
        jobs_found = []
        for job in kept:
            if not any(marks.get(id_) == mark for id_, mark in job.lines.items()):
                continue
            if job.input_file is None:  # that process did not come to the end of the upload
                job.forget()
                continue
            self._api.make_sure_it_runs(job)
            logger.info("batch %s of an earlier process is waited for again", job.batch)
            for id_ in job.lines.keys() & open_.keys():
                self._fits(open_[id_], sent=True)
            jobs_found.append(job)
        return jobs_found

    def _submitted(self, requests: Sequence[Request]) -> list[JobFile]:
        """Jobs for the requests, of one model and within the service's limits each."""
        jobs = []
        for model in dict.fromkeys(self._model(request.weights) for request in requests):
            lines: dict[str, str] = {}
            content = bytearray()
            for request in requests:
                if self._model(request.weights) != model:
                    continue
                line = self._api.line(request.id, self._dialect.body(request, model))
                if lines and (len(lines) == MOST_LINES or len(content) + len(line) > MOST_BYTES):
                    jobs.append(self._api.submit(self._folder, lines, bytes(content)))
                    lines, content = {}, bytearray()
                lines[request.id] = self._mark(request)
                content += line
            jobs.append(self._api.submit(self._folder, lines, bytes(content)))
        return jobs

    def _collected(
        self, job: JobFile, state: BatchState, open_: Mapping[str, Request], retries: Counter[str]
    ) -> Iterator[Response]:
        """The answers of a job that has ended, then the requests that are hopeless; the others are to be sent again."""
        version = self._dialect.version
        without = Failure("again", f"batch {state.status} without an answer")
        failures = {id_: without for id_ in job.lines if id_ in open_}
        for id_, status, body in self._api.results(state):
            if id_ not in failures:
                continue
            result = read_answer(open_[id_], body) if status == 200 else of_status(status, body, {})
            if isinstance(result, Failure):
                failures[id_] = result
                continue
            del failures[id_]
            self._answers += 1
            weights = open_[id_].weights
            self._budget.settle(id_, weights, result.prompt_tokens, result.completion_tokens)
            self._dialect.saw_answer(result.text, result.logprobs)
            yield result
        logger.info("batch %s: %s, %d requests without an answer", job.batch, state.status, len(failures))
        for id_, failure in failures.items():
            if state.status == "failed" or self._is_sent_again(open_[id_], failure, version, retries):
                continue
            if failure.kind == "all" or (failure.kind == "refused" and not self._answers):
                job.forget()
                raise stops_all(failure, self._service)
            self._budget.release(id_)
            yield failed(open_[id_], failure, retries[id_])

    def _is_sent_again(self, request: Request, failure: Failure, version: int, retries: Counter[str]) -> bool:
        if failure.kind == "refused":
            return self._dialect.learn(failure, version)
        if failure.kind not in ("again", "overloaded") or retries[request.id] == self._service.max_retries:
            return False
        retries[request.id] += 1
        return True

    def _judge(self, state: BatchState, turned_away: int) -> None:
        """Ends the run if the service takes no batch: it found a mistake in the file, or refused too often."""
        if state.status == "failed" and (state.is_hopeless or turned_away > self._service.max_retries):
            raise BackendError(
                f"{address(self._service)}: the batch was refused: {state.reason or 'no reason'}; "
                "finished answers are saved; backend.service.mode: realtime does without batches, and asks and pays a "
                "second time for what other batches are working on"
            )

    def _mark(self, request: Request) -> str:
        return fingerprint(request, self._model(request.weights), self._service.extra_body)


def _nap(seconds: float, stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, LONGEST_NAP))
