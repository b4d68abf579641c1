"""What services charged, a line each: the file behind a budget.

At an address each machine has a ledger of its own (`costs-<host>.jsonl`): lines go to its disk at once, and the whole
file is uploaded every few seconds and when the process ends. So what a machine charged in its last seconds before it
was killed is known when it is started again, and not elsewhere.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from semievol.config.places import Place
from semievol.run_folder.files import write_text
from semievol.run_folder.journal import append
from semievol.run_folder.place import at_address, on_disk, upload

logger = logging.getLogger(__name__)

EVERY = 10.0
"""Seconds between two uploads."""

Entries = list[dict[str, Any]]


class Ledger:
    """The charges of one run; goes on from those of earlier sessions."""

    def __init__(self, path: Place) -> None:
        self._path, self._file = path, on_disk(path)
        self._uploaded = -EVERY
        self._is_due = False
        if path.exists():
            entries = _compacted(_own_entries(path))
            write_text(self._file, "".join(json.dumps(entry) + "\n" for entry in entries))
            self._is_due = at_address(path)
        elif at_address(path):
            self._file.unlink(missing_ok=True)  # of another run that has been removed

    def add(self, entry: Mapping[str, Any]) -> None:
        """Writes a charge down."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab", buffering=0) as handle:
            append(handle, json.dumps(entry).encode() + b"\n")
        self._is_due = at_address(self._path)
        if time.monotonic() - self._uploaded > EVERY:
            self.upload()

    def upload(self) -> None:
        """Brings what is new to the address; nothing if the ledger is on a disk."""
        if self._is_due and at_address(self._path):
            upload(self._file, self._path)
            self._uploaded, self._is_due = time.monotonic(), False


def read_ledger(path: Place) -> Entries:
    """The charges of a run: those in a file, or at an address in the files of all machines."""
    ledgers = (
        [sibling for sibling in path.parent.glob("costs-*.jsonl") if sibling.name != path.name]
        if at_address(path)
        else []
    )
    entries = _own_entries(path) if path.exists() else []
    return entries + [entry for ledger in ledgers for entry in _entries(ledger.read_bytes())]


def _own_entries(path: Place) -> Entries:
    """Those in a file that is there; at an address, those that this machine knows of."""
    file = on_disk(path)
    return list(_entries((file if file.exists() else path).read_bytes()))


def _entries(content: bytes) -> Iterator[dict[str, Any]]:
    """The charges; a torn line, of a process that was killed or had a full disk, is none."""
    for line in content.rpartition(b"\n")[0].splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            logger.warning("a damaged line of the ledger is left out of the costs")


def _compacted(entries: Entries) -> Entries:
    """The charges with one line for all answers of the same weights."""
    trainings: Entries = []
    answers: dict[tuple[str, bool], dict[str, float]] = {}
    for entry in entries:
        if entry["what"] == "training":
            trainings.append(entry)
            continue
        key = entry["weights"], entry["dollars"] is not None
        sums = answers.setdefault(key, {"requests": 0, "input": 0, "output": 0, "dollars": 0.0})
        for name in sums:
            sums[name] += entry[name] or 0
    lines = [
        {"what": "answers", "weights": weights, **sums, **({} if priced else {"dollars": None})}
        for (weights, priced), sums in answers.items()
    ]
    return [*trainings, *lines]
