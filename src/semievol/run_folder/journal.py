"""Answers on disk as they arrive."""

import dataclasses
import json
import logging
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semievol.records import Response

logger = logging.getLogger(__name__)


class Journal:
    """The answers of one shard, a line each; survives a kill at any byte."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Response]:
        """Finished responses by request id; a damaged line counts as not answered, and a torn last one is cut off.

        A request that failed is not finished, unless it would fail again.
        """
        if not self.path.exists():
            return {}
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            with self.path.open("r+b") as handle:
                handle.truncate(end)
        responses = [_read(line) for line in data[:end].splitlines()]
        if damaged := responses.count(None):
            logger.warning("%s: %d lines are damaged; these requests are asked again", self.path, damaged)
        responses_read = (response for response in responses if response is not None)
        return {
            response.id: response for response in responses_read if response.finish != "error" or response.permanent
        }

    @property
    def exists(self) -> bool:
        """Whether the shard is under way, or has requests that may yet be answered."""
        return self.path.exists()

    @contextmanager
    def writer(self) -> Iterator[Callable[[Response], None]]:
        """A function that appends a response; it is with the operating system when the function returns."""
        with self.path.open("ab", buffering=0) as handle:

            def write(response: Response) -> None:
                line = memoryview(_line(response))
                while line:  # a disk that is nearly full takes a part, and says nothing
                    line = line[handle.write(line) :]

            yield write

    @property
    def lines(self) -> int:
        """Answers so far."""
        return self.path.read_bytes().count(b"\n")

    def forget(self, ids: Collection[str]) -> None:
        """Drops the answers to these requests: they are asked in other words now."""
        lines = b"".join(_line(response) for id_, response in self.read().items() if id_ not in ids)
        beside = self.path.with_suffix(".rewritten")
        beside.write_bytes(lines)
        beside.replace(self.path)

    def remove(self) -> None:
        """Forgets the journal, once its shard is on disk."""
        self.path.unlink(missing_ok=True)


_FIELDS = tuple(field.name for field in dataclasses.fields(Response))
_SUM = b', "crc": '
"""Before the CRC-32 of a line's other fields, its last one; in a text the quotation marks would be escaped."""
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _line(response: Response) -> bytes:
    # dataclasses.asdict would copy every value, at three times the cost of the line.
    content = _encode({name: getattr(response, name) for name in _FIELDS}).encode()
    return content[:-1] + _SUM + b"%d}\n" % zlib.crc32(content)


def _read(line: bytes) -> Response | None:
    """The response in a line; `None` if it is damaged. A line of an older version has no sum."""
    content, has_sum, end = line.rpartition(_SUM)
    try:
        if not has_sum:
            return _response(json.loads(line))
        content += b"}"
        return _response(json.loads(content)) if int(end.removesuffix(b"}")) == zlib.crc32(content) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _response(fields: dict[str, Any]) -> Response:
    logprobs = fields.pop("logprobs")
    return Response(**fields, logprobs=None if logprobs is None else tuple(logprobs))
