"""What came of each test row of a cell: kept, so that seeds of several calls can be told together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from semievol.config.places import Place
from semievol.records import Answer
from semievol.run_folder.parquet import iter_rows, read_columns, write_rows
from semievol.run_folder.schema import schema_of

CellKey = tuple[str, str, str, int]
"""(task, base, method, seed) of a cell."""

OF_ANSWERS = pa.schema([schema_of(Answer).field(name) for name in ("id", "truth", "right", "mean_nll")])
SCHEMA = pa.schema(
    [("task", pa.string()), ("base", pa.string()), ("method", pa.string()), ("seed", pa.int64()), *OF_ANSWERS]
)


@dataclass(frozen=True)
class Outcomes:
    """The test rows of a cell, each (N,)."""

    ids: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    right: tuple[bool, ...] = ()
    mean_nll: tuple[float | None, ...] = ()
    """H of the model's own answer, in nats per token; `None` if the engine gives no log-probabilities."""


def of_answers(path: Place) -> Outcomes:
    """The outcomes of an answers file of a run's evaluation."""
    table = read_columns(path, OF_ANSWERS.names)
    return Outcomes(*(tuple(table[name].to_pylist()) for name in OF_ANSWERS.names))


def write(path: Path, cells: Mapping[CellKey, Outcomes]) -> None:
    """One Parquet file with a row for each test row of each cell; the same cells give the same bytes."""
    write_rows(path, list(_rows(cells)), SCHEMA)


def _rows(cells: Mapping[CellKey, Outcomes]) -> Iterator[dict[str, Any]]:
    for place, outcomes in cells.items():
        for row in zip(outcomes.ids, outcomes.truth, outcomes.right, outcomes.mean_nll, strict=True):
            yield dict(zip(SCHEMA.names, (*place, *row), strict=True))


def read(path: Path) -> dict[CellKey, Outcomes]:
    """What `write` has written."""
    rows_of: dict[CellKey, list[list[Any]]] = {}
    for row in iter_rows(path, SCHEMA.names):
        place = row["task"], row["base"], row["method"], row["seed"]
        rows_of.setdefault(place, []).append([row[name] for name in OF_ANSWERS.names])
    return {place: Outcomes(*zip(*rows, strict=True)) for place, rows in rows_of.items()}
