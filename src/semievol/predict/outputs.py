"""The file that `semievol predict` leaves: the user's columns, and beside them what the model says."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semievol.run_folder.files import whole

OutputRow = Mapping[str, Any]

PREFIX = "predicted_"
"""Before a name of ours that one of the user's columns has already."""


def named(columns: Sequence[str], own_names: Sequence[str]) -> dict[str, str]:
    """What each of our columns is called beside the user's, whose names stay as they are."""
    names_taken, names = set(columns), {}
    for name in own_names:
        free = name
        while free in names_taken:
            free = PREFIX + free
        names_taken.add(free)
        names[name] = free
    return names


def lines(rows: Sequence[OutputRow]) -> Iterator[str]:
    """The rows as JSON Lines; a value that JSON does not have is written as its text."""
    return (json.dumps(dict(row), ensure_ascii=False, default=str) + "\n" for row in rows)


def write_predictions(path: Path, columns: Sequence[str], rows: Sequence[OutputRow]) -> None:
    """Writes the rows in the format that the path's ending names: `.csv`, `.tsv`, `.parquet`, else JSON Lines.

    The file appears whole, in place of one that was there.
    """
    write = {".csv": _delimited(","), ".tsv": _delimited("\t"), ".parquet": _parquet}.get(path.suffix.lower(), _json)
    with whole(path) as beside:
        write(beside, columns, rows)


def _json(path: Path, columns: Sequence[str], rows: Sequence[OutputRow]) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(lines(rows))


def _delimited(delimiter: str) -> Any:
    def write(path: Path, columns: Sequence[str], rows: Sequence[OutputRow]) -> None:
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, delimiter=delimiter, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)

    return write


def _cell(value: Any) -> str:
    """A value as it stands in a cell; lists and mappings as JSON."""
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _parquet(path: Path, columns: Sequence[str], rows: Sequence[OutputRow]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(name: str) -> Any:
        values = [row.get(name) for row in rows]
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # values of several types, which JSON Lines may hold
            return pa.array([None if value is None else _cell(value) for value in values], pa.string())

    content = io.BytesIO()
    pq.write_table(pa.table({name: column(name) for name in columns}), content)
    path.write_bytes(content.getvalue())
