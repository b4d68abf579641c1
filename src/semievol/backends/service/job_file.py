"""Batches that are under way, on disk: what a process needs to collect what an earlier one sent."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from semievol.config.places import Place
from semievol.records import Request
from semievol.run_folder.files import read_json, write_text


class JobFile:
    """One batch: which requests it holds, and the service's names for it once they are known."""

    def __init__(self, path: Place, content: dict[str, Any]) -> None:
        self._path, self._content = path, content

    @classmethod
    def create(cls, folder: Place, lines: Mapping[str, str]) -> "JobFile":
        """A batch that is about to be sent.

        Args:
            lines: the fingerprint of each request, by its id.
        """
        job_file = cls(
            folder / f"{uuid.uuid4().hex[:12]}.json", {"input_file": None, "batch": None, "lines": dict(lines)}
        )
        job_file._write()
        return job_file

    @property
    def lines(self) -> Mapping[str, str]:
        """The fingerprint of each request, by its id."""
        lines: dict[str, str] = self._content["lines"]
        return lines

    @property
    def input_file(self) -> str | None:
        """The service's name of the file with the requests; `None` if it was not uploaded yet."""
        name: str | None = self._content["input_file"]
        return name

    @property
    def batch(self) -> str | None:
        """The service's name of the batch; `None` if it is not known to have been made."""
        name: str | None = self._content["batch"]
        return name

    @property
    def path(self) -> Place:
        """Where it is kept."""
        return self._path

    def note(self, **names: str) -> None:
        """Keeps `input_file` or `batch`, before anything else is done."""
        self._content.update(names)
        self._write()

    def forget(self) -> None:
        """Removes it: everything it holds has been taken."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._content, ensure_ascii=False))


def job_files(folder: Place) -> Iterator[JobFile]:
    """The batches kept in a folder."""
    return (JobFile(path, read_json(path)) for path in sorted(folder.glob("*.json")))


def fingerprint(request: Request, model: str, extra: Mapping[str, Any]) -> str:
    """Stands for what is asked: equal for the same question to the same model, however the service wants it put."""
    content = [model, request.messages, asdict(request.sampling), extra]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
