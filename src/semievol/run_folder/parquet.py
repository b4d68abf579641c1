"""Rows in Parquet files, which appear whole; the same rows give the same bytes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semievol.config.places import Place
from semievol.errors import first_line
from semievol.run_folder.damage import damaged
from semievol.run_folder.files import whole
from semievol.run_folder.place import at_address
from semievol.run_folder.sums import check

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
    check(path)
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
