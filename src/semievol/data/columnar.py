"""Files of columns: Parquet, and Arrow's own, as `datasets` saves them."""

import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from semievol.data.streams import COMPRESSED, open_bytes, readable
from semievol.data.table import Row, Table
from semievol.errors import DataError, first_line

MOST_UNPACKED = 2 * 2**30
"""Bytes of a compressed Parquet file, which has to lie in memory."""
_TOGETHER = 1024
"""Rows that are decoded at once."""


def parquet(path: Path, name: str) -> Table:
    """The table in a Parquet file."""
    # Imported here: `semievol --help` and CSV users need not wait for it.
    import pyarrow.parquet as pq

    packed = path.suffix.lower() in COMPRESSED

    def opened() -> Any:
        if not packed:
            return pq.ParquetFile(path)
        with open_bytes(path) as stream:
            content = stream.read(MOST_UNPACKED + 1)
        if len(content) > MOST_UNPACKED:
            raise DataError(f"{name}: unpacked, it has more than {MOST_UNPACKED // 2**30} GB; unpack it first")
        return pq.ParquetFile(io.BytesIO(content))

    def batches(columns: list[str]) -> Iterator[Any]:
        yield from opened().iter_batches(batch_size=_TOGETHER, columns=columns)

    return _table(name, "Parquet", lambda: opened().schema_arrow, batches)


def arrow(path: Path, name: str) -> Table:
    """The table in an Arrow file, or in a stream of Arrow, as `datasets` writes it."""
    import pyarrow as pa

    def opened() -> Any:
        source = pa.memory_map(str(path))
        try:
            return pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source)

    def batches(columns: list[str]) -> Iterator[Any]:
        reader = opened()
        is_file = hasattr(reader, "num_record_batches")
        batches = (reader.get_batch(n) for n in range(reader.num_record_batches)) if is_file else iter(reader)
        for batch in batches:
            batch.validate(full=True)  # its buffers are used as they lie in the file
            for start in range(0, batch.num_rows, _TOGETHER):
                yield batch.slice(start, _TOGETHER).select(columns)

    return _table(name, "Arrow", lambda: opened().schema, batches)


def _table(name: str, kind: str, schema: Callable[[], Any], batches: Callable[[list[str]], Iterator[Any]]) -> Table:
    import pyarrow as pa

    try:
        with readable(name):
            arrow_schema = schema()
        columns = tuple(arrow_schema.names)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not {'an' if kind[0] == 'A' else 'a'} {kind} file: {first_line(error)}") from error
    classes = _classes(arrow_schema.metadata or {})

    def rows(names: Collection[str]) -> Iterator[Row]:
        index = 0
        columns_read = [column for column in columns if column in names]
        try:
            for batch in batches(columns_read):
                # A batch without columns has no rows for `to_pylist`.
                for cells in batch.to_pylist() if columns_read else ({} for _ in range(batch.num_rows)):
                    yield Row(index, with_class_names(cells, classes))
                    index += 1
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: text, dates
            raise DataError(f"{name}: damaged near row {index + 1}: {first_line(error)}") from error

    return Table(name, columns, rows)


def with_class_names(cells: Mapping[str, Any], classes: Mapping[str, list[str]]) -> Mapping[str, Any]:
    """The cells with the names of their classes in place of their numbers; -1 is a class that is not known."""
    label_names = {
        column: names[number] if 0 <= number < len(names) else None if number == -1 else number
        for column, names in classes.items()
        if isinstance(number := cells.get(column), int)
    }
    return {**cells, **label_names} if label_names else cells


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Column -> names of its classes, if `datasets` has written a ClassLabel."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
