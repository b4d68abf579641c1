"""Rows that Python holds, written to a file that is then a source like any other."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semievol.errors import DataError, first_line
from semievol.run_folder.files import whole


def save_rows(rows: Any, folder: Path, name: str) -> Path:
    """The file in `folder` with these rows: Parquet for tables, JSON Lines for anything else.

    Args:
        rows: a pandas or polars DataFrame, a `datasets.Dataset`, a `pyarrow.Table` or another table with Arrow's
            stream interface, columns as a mapping of lists, or mappings, one for each row.
        name: of the file, without its suffix, and of the rows in messages.

    Raises:
        DataError: they are none of these, or a column holds values of several kinds.
    """
    path = folder / f"{name}.parquet"
    try:
        table = _table(rows)
        if table is None:
            return _save_lines(rows, folder / f"{name}.jsonl", name)
        with whole(path) as beside:
            pq.write_table(table, beside)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{name}: {first_line(error)}") from error
    return path


def _table(rows: Any) -> pa.Table | None:
    """The rows as a table; `None` if they are not one."""
    if isinstance(rows, Mapping):
        if any(hasattr(column, "features") for column in rows.values()):
            raise DataError(f"a data set of the splits {', '.join(map(str, rows))}; name one of them")
        return pa.table({str(name): list(column) for name, column in rows.items()})
    if hasattr(rows, "features") and hasattr(rows, "flatten_indices"):  # of `datasets`: with the names of its classes
        table = rows.with_format("arrow")[:]
        return table.replace_schema_metadata(rows.features.arrow_schema.metadata)
    if hasattr(rows, "reset_index"):  # of pandas: its index is no column
        rows = rows.reset_index(drop=True)
    return pa.table(rows) if hasattr(rows, "__arrow_c_stream__") else None


def _save_lines(rows: Any, path: Path, name: str) -> Path:
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise DataError(
            f"{name}: {type(rows).__name__}, where a table or one mapping for each row is expected; a path stands in "
            "the config"
        )
    with whole(path) as beside, beside.open("w", encoding="utf-8") as handle:
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, Mapping):
                raise DataError(f"{name} row {number}: {type(row).__name__}, where a mapping is expected")
            handle.write(json.dumps(dict(row), ensure_ascii=False, default=_plain) + "\n")
    return path


def _plain(value: Any) -> Any:
    """A value that JSON does not have: those of NumPy as Python's, others as their text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
