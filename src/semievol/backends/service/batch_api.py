"""Calls to the files and batches of a service."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import openai

from semievol.backends.service.clients import address, open_client
from semievol.backends.service.failures import NO_ANSWER, backoff, of_error, stops_all, waits
from semievol.backends.service.job_file import JobFile
from semievol.config import ServiceConfig
from semievol.config.places import Place
from semievol.errors import BackendError

logger = logging.getLogger(__name__)

T = TypeVar("T")

ENDPOINT: Final = "/v1/chat/completions"
NOT_REACHED = 503
"""The status given to requests that a batch did not come to: expired, cancelled."""
ENDED = ("completed", "failed", "expired", "cancelled")

Line = tuple[str, int, object]
"""A request's id, its status, and the completion or the error."""


@dataclass(frozen=True)
class BatchState:
    """How a batch stands."""

    status: str
    result_files: tuple[str, ...]
    reason: str
    """Why it failed as a whole."""
    is_hopeless: bool
    """It failed for a line of the file, and will again; otherwise the service may have been full."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED


class BatchAPI:
    """The files and batches of a service. Calls that may be repeated are; a batch is created once."""

    def __init__(self, service: ServiceConfig) -> None:
        self._service = service
        self._opened: openai.OpenAI | None = None
        self._shown: dict[str, str] = {}

    def line(self, id_: str, body: Mapping[str, Any]) -> bytes:
        """A request as a line of a batch's file."""
        content = {"custom_id": id_, "method": "POST", "url": ENDPOINT, "body": body}
        return json.dumps(content, ensure_ascii=False).encode() + b"\n"

    def submit(self, folder: Place, lines: Mapping[str, str], content: bytes) -> JobFile:
        """A batch of these lines, on disk before it is sent."""
        job = JobFile.create(folder, lines)
        name = f"semievol-{job.path.stem}.jsonl"
        uploaded = self._again_and_again(lambda: self._client.files.create(file=(name, content), purpose="batch"))
        job.note(input_file=uploaded.id)
        self.make_sure_it_runs(job)
        logger.info("batch %s: %d requests sent", job.batch, len(lines))
        return job

    def make_sure_it_runs(self, job: JobFile) -> None:
        """Creates the batch of an uploaded file, unless it was created before and the answer to that was lost."""
        if job.batch is not None:
            return
        file = job.input_file or ""

        def create() -> openai.types.Batch:
            return self._existing(file) or self._client.batches.create(
                input_file_id=file, endpoint=ENDPOINT, completion_window="24h"
            )

        job.note(batch=self._again_and_again(create).id)

    def look(self, job: JobFile) -> BatchState:
        """How the batch stands now.

        Raises:
            BackendError: the service does not know it.
        """
        id_ = job.batch or ""
        try:
            return self._again_and_again(lambda: self._state(id_, self._client.batches.retrieve(id_)))
        except openai.NotFoundError as error:
            raise BackendError(
                f"{address(self._service)} does not know the batch {id_}, in which {len(job.lines)} requests wait; "
                f"is it the same account and address? If it is, they are lost: remove {job.path} to send them again, "
                "and to pay for them again"
            ) from error

    def _state(self, id_: str, batch: openai.types.Batch) -> BatchState:
        counts = batch.request_counts
        line = f"{batch.status}, {counts.completed} of {counts.total} requests done" if counts else batch.status
        if self._shown.get(id_) != line:
            self._shown[id_] = line
            logger.info("batch %s: %s", id_, line)
        errors = (batch.errors.data if batch.errors else None) or []
        return BatchState(
            status=batch.status,
            result_files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
            reason="; ".join(f"{e.message}{f' (line {e.line})' if e.line is not None else ''}" for e in errors[:3]),
            is_hopeless=any(error.line is not None for error in errors),
        )

    def results(self, job: BatchState) -> Iterator[Line]:
        """The lines of the result files; one that is damaged is left out, and counts as not answered."""
        for file in job.result_files:
            content = self._again_and_again(partial(self._client.files.content, file)).content
            yield from read_lines(file, content)

    @property
    def _client(self) -> openai.OpenAI:
        if self._opened is None:
            self._opened = open_client(self._service)
        return self._opened

    def _existing(self, input_file: str) -> openai.types.Batch | None:
        """The batch of an input file, if there is one."""
        return next((batch for batch in self._client.batches.list() if batch.input_file_id == input_file), None)

    def _again_and_again(self, call: Callable[[], T]) -> T:
        """What the call returns, after as many attempts as it takes or the config allows.

        Raises:
            BackendError: the service refuses it or does not answer.
            openai.NotFoundError: there is no such thing.
        """
        for attempt in range(1, self._service.max_retries + 2):
            try:
                return call()
            except openai.NotFoundError:
                raise
            except (openai.APIError, *NO_ANSWER) as error:
                failure = waits(of_error(error), self._service)
                if failure.kind not in ("again", "overloaded") or attempt > self._service.max_retries:
                    raise stops_all(failure, self._service) from error
                pause = backoff(attempt, self._service.retry_wait, 1.0)
                time.sleep(pause if failure.wait is None else failure.wait)
        raise AssertionError("not reached")


def read_lines(file: str, content: bytes) -> Iterator[Line]:
    """The lines of a result file of this name."""
    for line in content.split(b"\n"):
        try:
            if line:
                yield _result(json.loads(line))
        except NO_ANSWER:
            logger.warning("file %s: a damaged line: %.100r", file, line)


def _result(content: Mapping[str, Any]) -> Line:
    response, error = content.get("response"), content.get("error")
    id_ = content["custom_id"]
    if not isinstance(id_, str):
        raise TypeError("the id is no text")
    if response is not None:
        return id_, int(response["status_code"]), response["body"]
    return id_, NOT_REACHED, error
