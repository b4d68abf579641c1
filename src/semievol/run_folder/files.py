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

from semievol.config.places import Place
from semievol.errors import RunFolderError, first_line
from semievol.run_folder import STAGES
from semievol.run_folder.place import at_address, on_disk, upload

_ADVICE = {
    "run.json": "remove it; times, versions and the measured type of the weights are lost, and no result",
    "done.json": "remove it; the stage is finished again from what lies beside it",
    "metrics.json": "remove it; it is computed again from the answers beside it",
    "job.json": "remove it; the training at the service is not found again, and another one is started and paid",
}
"""What to do about a file that is damaged, and what is lost by that."""

ROW_GROUP = 4 * 1024 * 1024
"""Bytes in memory after which a row group of a Parquet file is written."""


def write_rows(path: Place, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Writes rows as one Parquet file that appears whole; the same rows give the same bytes."""
    write_tables(path, [pa.Table.from_pylist(list(rows), schema=schema)], schema)


def write_tables(path: Place, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Writes tables as one Parquet file that appears whole, holding no more of them than a row group."""
    with whole(path) as beside, _writer(beside, schema) as writer:
        group, size = [schema.empty_table()], 0
        for table in tables:
            group.append(table)
            size += table.nbytes
            if size > ROW_GROUP:
                writer.write_table(pa.concat_tables(group))
                group, size = [schema.empty_table()], 0
        writer.write_table(pa.concat_tables(group))


def _writer(path: Place, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


@contextmanager
def open_parquet(path: Place) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a run; of one at an address only what is asked for is read.

    Raises:
        RunFolderError: it is gone or damaged, which may show only while it is read.
    """
    try:
        if at_address(path):
            with path.open("rb") as handle, pq.ParquetFile(handle, page_checksum_verification=True) as file:
                yield file
        else:
            with _local_file(path) as file:
                yield file
    except FileNotFoundError as error:
        raise damaged(path, "it is gone") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise damaged(path, first_line(error)) from error
    except OSError as error:
        if error.errno is not None:  # the system's; Arrow has none for what it cannot read
            raise
        raise damaged(path, first_line(error)) from error


def _local_file(path: Place) -> pq.ParquetFile:
    # What is read ahead would be held until the end, for all row groups: memory that grows with the rows.
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=64 * 1024, page_checksum_verification=True)


def read_rows(path: Place) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    with open_parquet(path) as file:
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def iter_rows(path: Place, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file with these columns, few in memory at a time."""
    with open_parquet(path) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise damaged(path, f"it has no column {min(missing)}")
        for batch in file.iter_batches(batch_size=1024, columns=list(columns), use_threads=False):
            yield from batch.to_pylist()


def read_columns(path: Place, columns: Sequence[str]) -> pa.Table:
    """Some columns of a Parquet file."""
    with open_parquet(path) as file:
        return file.read(list(columns))


def rows_at(path: Place, positions: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of a Parquet file at these positions, in this order."""
    rows_of: dict[int, dict[str, Any]] = {}
    first = 0
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=1024, use_threads=False):
            inside = [at for at in positions if first <= at < first + len(batch)]
            rows = batch.take(pa.array([at - first for at in inside], pa.int64())).to_pylist() if inside else []
            rows_of.update(zip(inside, rows, strict=True))
            first += len(batch)
    return [rows_of[at] for at in positions]


def write_text(path: Place, text: str) -> None:
    """Writes a text file that appears whole."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_bytes(path: Place, content: bytes) -> None:
    """Writes a file that appears whole."""
    with whole(path) as beside:
        beside.write_bytes(content)


def read_json(path: Place) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        RunFolderError: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise damaged(path, "it is gone") from error
    except ValueError as error:
        raise damaged(path, first_line(error)) from error
    if not isinstance(content, dict):
        raise damaged(path, "not an object")
    return content


def damaged(path: Place, why: str) -> RunFolderError:
    """The error of a run's file that cannot be used: what to do about it, and what that costs."""
    place = path.as_posix().split("/")
    stage = next((part for part in reversed(place[:-1]) if part in STAGES), None)
    if (advice := _ADVICE.get(path.name)) is None and path.name.endswith(".failed.json"):
        advice = "remove it; only the reasons of the failures are lost"
    elif advice is None and stage == "evaluate" and path.suffix == ".parquet":
        advice = "remove it and done.json there; that model answers the test rows again, and a service is paid again"
    elif advice is None and path.name.startswith("part-"):
        advice = "remove it and done.json there; its shard is asked again, and a service is paid for it again"
    elif advice is None and stage is not None:
        advice = (
            f"--redo {stage} makes this stage and the later ones anew, and removes what they hold, "
            "answers that were paid for too"
        )
    return RunFolderError(f"{path}: damaged: {why}" + (f"; {advice}" if advice else ""))


@contextmanager
def whole(path: Place) -> Iterator[Path]:
    """A path to write to; renamed to `path` when the block ends, synced to the disk, or uploaded to its address.

    Its name is of this process alone, among all machines that share a network disk. If the block fails, there is
    nothing to upload.
    """
    if at_address(path):
        with tempfile.TemporaryDirectory(prefix="semievol-") as scratch:
            yield Path(scratch, path.name)
            upload(Path(scratch, path.name), path)
        return
    target = on_disk(path)
    beside = target.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def readable_as(file: Path, *others: Path) -> None:
    """Lets those read other files who may read this one: safetensors writes for the owner's eyes alone."""
    for other in others:
        other.chmod(file.stat().st_mode)
