"""Files of rows: CSV, TSV, Orange `.tab`, JSON Lines, JSON and Parquet, each also gzipped."""

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from semievol.data.table import Row, Table
from semievol.errors import DataError

_CELL_LIMIT = 2**31 - 1
"""Characters in one CSV cell; the csv module's own limit of 131072 is less than a long document, and a C long
on Windows holds no more than this."""
_KEYS_FROM = 100
"""JSON Lines whose keys make up the columns at first: the rest are read only for a column that is not among them."""
_ORANGE_ROLES = {"", "class", "c", "meta", "m", "ignore", "i", "weight", "w", "continuous", "discrete"}


def open_file(path: Path, name: str) -> Table:
    """The table in a file, its format told by its suffix.

    Raises:
        DataError: the file is no such file, cannot be read, or is empty.
    """
    plain = path.name.lower().removesuffix(".gz")
    reader = _READERS.get(PurePath(plain).suffix)
    if reader is None:
        raise DataError(f"{name}: unknown kind of file; known are {', '.join(_READERS)}, each also with .gz")
    if path.is_dir():
        raise DataError(f"{name}: is a folder; name a file in it")
    return reader(path, name)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:  # EOFError and zlib.error: a torn gzip file
        raise DataError(f"{name}: cannot be read: {error}") from error


def _binary(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _lines(path: Path, name: str) -> Iterator[str]:
    """The lines with their line ends, decoded one by one so that a bad byte has a place."""
    with _readable(name), _binary(path) as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{name} line {number}: byte {error.start + 1} of the line, 0x{raw[error.start]:02x}, is not "
                    "UTF-8; save the file as UTF-8"
                ) from error
            yield line.removeprefix("\ufeff") if number == 1 else line


def _records(path: Path, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts on; a blank line is an empty record."""
    csv.field_size_limit(_CELL_LIMIT)
    reader = csv.reader(_lines(path, name), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{name} line {start}: the record that starts here is malformed: {error}") from error
        yield start, record


def _delimited(path: Path, name: str, *, delimiter: str, orange: bool = False) -> Table:
    header = list(itertools.islice(_records(path, name, delimiter), 3 if orange else 1))
    if not header or not header[0][1]:
        raise DataError(f"{name}: is empty" if not header else f"{name}: line 1 is blank; column names are expected")
    if orange:
        _check_orange(name, [record for _, record in header])
    columns = tuple(header[0][1])

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        for column in wanted:
            if columns.count(column) > 1:
                raise DataError(f"{name}: the column {column!r} stands there {columns.count(column)} times; rename one")
        positions = [(column, at) for at, column in enumerate(columns) if column in wanted]
        body = itertools.islice(_records(path, name, delimiter), len(header), None)
        filled = ((line, record) for line, record in body if record)
        for index, (line, record) in enumerate(filled):
            if len(record) != len(columns):
                raise DataError(
                    f"{name} row {index + 1} (line {line}): {len(record)} cells under {len(columns)} column names"
                )
            yield Row(index, {column: record[at] for column, at in positions}, line)

    return Table(name, columns, rows)


def _check_orange(name: str, header: list[list[str]]) -> None:
    """Refuses a plain TSV that is called `.tab`, whose first two rows would be lost as types and roles."""
    roles = header[2] if len(header) == 3 else ["?"]
    flags = [flag for cell in roles for flag in cell.split(" ") if "=" not in flag]
    if not set(flags) <= _ORANGE_ROLES:
        raise DataError(
            f"{name}: not an Orange .tab file, whose first three lines are names, types and roles; "
            "if it is a plain table, call it .tsv"
        )


def _json_lines(path: Path, name: str) -> Table:
    def objects() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(_lines(path, name), start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{name} line {number}: not JSON: {error.msg} at character {error.colno}") from error
            if not isinstance(value, dict):
                raise DataError(f"{name} line {number}: {type(value).__name__} where an object is expected")
            yield number, value

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        for index, (line, value) in enumerate(objects()):
            yield Row(index, {key: cell for key, cell in value.items() if key in wanted}, line)

    def keys(limit: int | None = None) -> tuple[str, ...]:
        return _keys(name, (value for _, value in itertools.islice(objects(), limit)))

    return Table(name, keys(_KEYS_FROM), rows, scan=keys)


def _json(path: Path, name: str) -> Table:
    try:
        value = json.loads("".join(_lines(path, name)))
    except json.JSONDecodeError as error:
        hint = "; JSON Lines files are called .jsonl" if error.msg == "Extra data" else ""
        where = f"{name} line {error.lineno}"
        raise DataError(f"{where}: not JSON: {error.msg} at character {error.colno}{hint}") from error
    objects = value.get("data") if isinstance(value, dict) else value
    if not isinstance(objects, list):
        raise DataError(f'{name}: a list of objects is expected, or {{"data": [...]}}')
    for index, each in enumerate(objects):
        if not isinstance(each, dict):
            raise DataError(f"{name} row {index + 1}: {type(each).__name__} where an object is expected")

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        for index, each in enumerate(objects):
            yield Row(index, {key: cell for key, cell in each.items() if key in wanted})

    return Table(name, _keys(name, iter(objects)), rows)


def _keys(name: str, objects: Iterator[dict[str, Any]]) -> tuple[str, ...]:
    keys = dict.fromkeys(key for value in objects for key in value)
    if not keys:
        raise DataError(f"{name}: is empty")
    return tuple(keys)


def _parquet(path: Path, name: str) -> Table:
    # Imported here: `semievol --help` and CSV users need not wait for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    def opened() -> Any:
        with _readable(name), _binary(path) as stream:
            return pq.ParquetFile(io.BytesIO(stream.read()) if path.suffix.lower() == ".gz" else path)

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        index = 0
        try:
            for batch in opened().iter_batches(batch_size=1024, columns=[each for each in columns if each in wanted]):
                for cells in batch.to_pylist():
                    yield Row(index, cells)
                    index += 1
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{name}: damaged near row {index + 1}: {error}") from error

    try:
        columns = tuple(opened().schema_arrow.names)
    except pa.ArrowException as error:
        raise DataError(f"{name}: not a Parquet file: {error}") from error
    return Table(name, columns, rows)


_READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": partial(_delimited, delimiter=","),
    ".tsv": partial(_delimited, delimiter="\t"),
    ".tab": partial(_delimited, delimiter="\t", orange=True),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}
