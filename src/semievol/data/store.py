"""Examples on disk: a sequence whose rows are read when they are asked for.

The file is an Arrow file of small record batches. They are read one by one, and the file is not mapped into memory,
for every mapped page that was ever touched counts as memory of the process. The file's name is the digest of its
rows: the same rows are the same file, and a file that is there is whole. One at an address is fetched once by each
machine that reads it.
"""

import atexit
import filecmp
import functools
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from semievol.config.places import Place
from semievol.records import Example
from semievol.run_folder.place import at_address, fetched, on_disk, upload
from semievol.run_folder.schema import schema_of

BATCH = 256
"""Rows that are read together."""
_OPEN_BATCHES, _OPEN_FILES = 16, 8
"""How many of each are held for the next read."""

SCHEMA = schema_of(Example)


class StoredExamples(Sequence[Example]):
    """Examples in a file: all of them, or those at some positions.

    Holds a path and a range, and can be pickled. A slice is another one over the same file.
    """

    def __init__(self, path: Place, positions: range, digest: str | None = None) -> None:
        self.path, self.positions = path, positions
        self.digest = digest
        """That of the rows, if they are the whole file."""

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredExamples": ...
    def __getitem__(self, index: int | slice) -> "Example | StoredExamples":
        if isinstance(index, slice):
            return StoredExamples(self.path, self.positions[index])
        batch, row = divmod(self.positions[index], BATCH)
        return _examples(_batch(self.path, batch).slice(row, 1))[0]

    def __iter__(self) -> Iterator[Example]:
        for number, positions in groupby(self.positions, lambda position: position // BATCH):
            examples = _examples(_batch(self.path, number))
            for position in positions:
                yield examples[position % BATCH]


def store(examples: Iterable[Example], folder: Place | None = None) -> StoredExamples:
    """The examples in a file of `folder`; if there is none, of a temporary one that goes with the process."""
    folder = folder or _scratch()
    disk = on_disk(folder)
    disk.mkdir(parents=True, exist_ok=True)
    partial = disk / f".partial.{socket.gethostname()}.{os.getpid()}"
    total, rows, stream = hashlib.sha256(), 0, iter(examples)
    try:
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            while batch := list(islice(stream, BATCH)):
                for example in batch:
                    total.update(_line(example))
                writer.write_batch(_columns(batch))
                rows += len(batch)
        name = f"{total.hexdigest()}.arrow"
        if not _holds(disk / name, partial):
            with partial.open("rb") as handle:
                os.fsync(handle.fileno())
            partial.replace(disk / name)
    finally:
        partial.unlink(missing_ok=True)
    path = folder / name
    if at_address(path) and not path.exists():
        upload(disk / name, path)
    return StoredExamples(path, range(rows), total.hexdigest())


def _holds(file: Path, partial: Path) -> bool:
    """Whether a file is there and is what it should be: a disk may have damaged it since."""
    return file.exists() and filecmp.cmp(file, partial, shallow=False)


def digest(examples: Iterable[Example]) -> str:
    """The SHA-256 of the examples' content, in their order, in hexadecimal."""
    if isinstance(examples, StoredExamples) and examples.digest is not None:
        return examples.digest
    total = hashlib.sha256()
    for example in examples:
        total.update(_line(example))
    return total.hexdigest()


def _line(example: Example) -> bytes:
    content = {
        "answer": example.answer,
        "category": example.category,
        "context": example.context,
        "id": example.id,
        "options": example.options,
        "prompt": example.prompt,
        "response": example.response,
    }
    return _encode(content).encode() + b"\n"


_encode = json.JSONEncoder(sort_keys=True).encode


def _columns(examples: Sequence[Example]) -> pa.RecordBatch:
    columns = [pa.array([getattr(example, field.name) for example in examples], field.type) for field in SCHEMA]
    return pa.record_batch(columns, schema=SCHEMA)


def _examples(batch: pa.RecordBatch) -> list[Example]:
    columns = {name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for name in ("options", "context"):
        columns[name] = map(tuple, columns[name])
    return [Example(*row) for row in zip(*columns.values(), strict=True)]


@functools.lru_cache(maxsize=_OPEN_BATCHES)
def _batch(path: Place, number: int) -> pa.RecordBatch:
    return _reader(path).get_batch(number)


@functools.lru_cache(maxsize=_OPEN_FILES)
def _reader(path: Place) -> Any:
    return pa.ipc.open_file(pa.OSFile(str(fetched(path))))


@functools.cache
def _scratch() -> Place:
    folder = Path(tempfile.mkdtemp(prefix="semievol-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
