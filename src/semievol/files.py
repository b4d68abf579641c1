"""Files that appear whole, or not at all, on a disk or at an address: Parquet, JSON and text."""

import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semievol.addresses import at_address, upload
from semievol.errors import RunDirError

ROW_GROUP = 4 * 1024 * 1024
"""Bytes in memory after which a row group of a Parquet file is written."""


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Writes rows as one Parquet file that appears whole; the same rows give the same bytes."""
    write_tables(path, [pa.Table.from_pylist(list(rows), schema=schema)], schema)


def write_tables(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Writes tables as one Parquet file that appears whole, holding no more of them than a row group."""
    with _whole(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        group, size = [schema.empty_table()], 0
        for table in tables:
            group.append(table)
            size += table.nbytes
            if size > ROW_GROUP:
                writer.write_table(pa.concat_tables(group))
                group, size = [schema.empty_table()], 0
        writer.write_table(pa.concat_tables(group))


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file; of one at an address only what is asked for is read."""
    if at_address(path):
        with path.open("rb") as handle, pq.ParquetFile(handle) as file:
            yield file
    else:
        # What is read ahead would be held until the end, for all row groups: memory that grows with the rows.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=64 * 1024) as file:
            yield file


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    with open_parquet(path) as file:
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def iter_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file with these columns, few in memory at a time."""
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=1024, columns=list(columns), use_threads=False):
            yield from batch.to_pylist()


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a Parquet file."""
    with open_parquet(path) as file:
        return file.read(list(columns))


def rows_at(path: Path, positions: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of a Parquet file at these positions, in this order."""
    found: dict[int, dict[str, Any]] = {}
    first = 0
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=1024, use_threads=False):
            inside = [at for at in positions if first <= at < first + len(batch)]
            rows = batch.take(pa.array([at - first for at in inside], pa.int64())).to_pylist() if inside else []
            found.update(zip(inside, rows, strict=True))
            first += len(batch)
    return [found[at] for at in positions]


def write_text(path: Path, text: str) -> None:
    """Writes a text file that appears whole."""
    with _whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file that appears whole."""
    with _whole(path) as beside:
        beside.write_bytes(content)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        RunDirError: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunDirError(f"{path}: damaged: {error}; remove the stage's folder to make it anew") from error
    if not isinstance(content, dict):
        raise RunDirError(f"{path}: damaged: not an object; remove the stage's folder to make it anew")
    return content


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A path to write to; renamed to `path` when the block ends, synced to the disk, or uploaded to its address.

    Its name is of this process alone, among all machines that share a network disk. Where the block fails, there is
    nothing to upload.
    """
    if at_address(path):
        with tempfile.TemporaryDirectory(prefix="semievol-") as scratch:
            yield Path(scratch, path.name)
            upload(Path(scratch, path.name), path)
        return
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
