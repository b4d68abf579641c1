"""Answers on disk as they arrive."""

import dataclasses
import hashlib
import io
import json
import logging
import os
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from semievol.records import Request, Response
from semievol.run_folder.files import write_bytes

logger = logging.getLogger(__name__)

SYNC = 1.0
"""Seconds after which answers are brought to the disk, so that they outlast the machine too."""


class Journal:
    """The answers of one shard, a line each; survives a kill at any byte."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, requests: Iterable[Request] = ()) -> dict[str, Response]:
        """Finished responses by request id; a damaged line counts as not answered, and a torn last one is cut off.

        A request that failed is not finished, unless it would fail again.

        Args:
            requests: what is asked now. An answer to one of them that was given when something else was asked does
                not count; nor does the journal of another run.
        """
        if not self.path.exists():
            return {}
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            with self.path.open("r+b") as handle:
                handle.truncate(end)
        lines = [_read(line) for line in data[:end].splitlines()]
        if damaged := lines.count(None):
            logger.warning("%s: %d lines are damaged; these requests are asked again", self.path, damaged)
        answers = {line.response.id: line for line in lines if line is not None and _is_finished(line.response)}
        asked_now = {request.id: request for request in requests if request.id in answers}
        others = {id_ for id_, request in asked_now.items() if answers[id_].mark not in (None, _mark(request))}
        if others:
            logger.warning("%s: %d answers are to other questions; these are asked again", self.path, len(others))
        return {id_: line.response for id_, line in answers.items() if id_ not in others}

    def damaged_lines(self) -> int:
        """How many lines are no answers; one that is torn at the end is one too."""
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        return sum(_read(line) is None for line in lines)

    @property
    def exists(self) -> bool:
        """Whether the shard is under way, or has requests that may yet be answered."""
        return self.path.exists()

    @contextmanager
    def writer(self, requests: Iterable[Request] = ()) -> Iterator[Callable[[Response], None]]:
        """A function that appends a response, with a mark of what was asked if that is among the `requests`.

        It is with the operating system when the function returns, and on the disk within `SYNC` seconds or when the
        writer ends: a process that is killed loses nothing, a machine whose power fails that much.

        Raises:
            OSError: the disk is full; a part of the line is taken back.
        """
        requests_by_id = {request.id: request for request in requests}
        with self.path.open("ab", buffering=0) as handle:
            synced = time.monotonic()

            def write(response: Response) -> None:
                nonlocal synced
                request = requests_by_id.get(response.id)
                append(handle, _line(response, None if request is None else _mark(request)))
                if time.monotonic() - synced > SYNC:
                    os.fsync(handle.fileno())
                    synced = time.monotonic()

            try:
                yield write
            finally:
                os.fsync(handle.fileno())

    @property
    def lines(self) -> int:
        """Answers so far."""
        return self.path.read_bytes().count(b"\n")

    def forget(self, ids: Collection[str]) -> None:
        """Drops the answers to these requests: they are asked in other words now."""
        kept = (line for line in self.path.read_bytes().splitlines(keepends=True) if _id(line) not in ids)
        write_bytes(self.path, b"".join(kept))

    def remove(self) -> None:
        """Forgets the journal, once its shard is on disk."""
        self.path.unlink(missing_ok=True)


class _Line(NamedTuple):
    """A line of a journal."""

    response: Response
    mark: str | None
    """The mark of the request; `None` if it is of an older version."""


_FIELDS = tuple(field.name for field in dataclasses.fields(Response))
_SUM = b', "crc": '
"""Before the CRC-32 of a line's other fields, its last one; in a text the quotation marks would be escaped."""
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _mark(request: Request) -> str:
    """Stands for what is asked: the chat, the weights, how an answer is drawn, the text that is scored."""
    drawn = [getattr(request.sampling, field.name) for field in dataclasses.fields(request.sampling)]
    content = _encode([request.messages, request.weights, drawn, request.response])
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def append(handle: io.FileIO, line: bytes) -> None:
    """Appends a line to a file that is open for it without a buffer.

    Raises:
        OSError: there is no room for it; what was written of it is taken back, so that the next one is not torn.
    """
    before = os.fstat(handle.fileno()).st_size
    rest = memoryview(line)
    try:
        while rest:  # a disk that is nearly full takes a part, and says nothing
            rest = rest[handle.write(rest) :]
    except OSError:
        os.ftruncate(handle.fileno(), before)
        raise


def _line(response: Response, mark: str | None) -> bytes:
    # dataclasses.asdict would copy every value, at three times the cost of the line.
    fields = {name: getattr(response, name) for name in _FIELDS}
    content = _encode(fields if mark is None else {**fields, "asked": mark}).encode()
    return content[:-1] + _SUM + b"%d}\n" % zlib.crc32(content)


def _read(line: bytes) -> _Line | None:
    """What a line says; `None` if it is damaged. A line of an older version has no sum."""
    content, has_sum, end = line.rstrip(b"\n").rpartition(_SUM)
    try:
        if not has_sum:
            return _parsed(json.loads(line))
        content += b"}"
        return _parsed(json.loads(content)) if int(end.removesuffix(b"}")) == zlib.crc32(content) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _parsed(fields: dict[str, Any]) -> _Line:
    logprobs, mark = fields.pop("logprobs"), fields.pop("asked", None)
    return _Line(Response(**fields, logprobs=None if logprobs is None else tuple(logprobs)), mark)


def _id(line: bytes) -> str | None:
    """Whose answer a line is; `None` if it is damaged."""
    parsed = _read(line)
    return None if parsed is None else parsed.response.id


def _is_finished(response: Response) -> bool:
    return response.finish != "error" or response.permanent
