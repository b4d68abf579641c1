"""Which unlabeled rows to label next: those of which the models are in doubt, that others are like, of every answer.

A row's worth is its doubt times its density: the mean similarity of its ten nearest among the rows of greatest doubt.
Rows are taken one after another, each of the answer that has had least of its share of the doubt, and a row is worth
less the nearer it is to one that was taken.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semievol.config import Config
from semievol.data import Dataset
from semievol.data.cells import text
from semievol.data.splits import open_splits
from semievol.errors import ConfigError
from semievol.predict.outputs import write_predictions
from semievol.records import Example
from semievol.run_folder.folder import RunFolder
from semievol.stages.evaluate import last_fates, selections_of

LOOKED_AT = 2_000
"""So many rows are embedded at most: those of the greatest doubt."""
NEAR = 10
"""Neighbours that make the density."""


@dataclass(frozen=True)
class Doubtful:
    """An unlabeled row and what the run says of it."""

    example: Example
    answer: str
    """Empty if there is none."""
    doubt: float
    """From 0 to 1, see `doubtful`."""


def ask(config: Config, dataset: Dataset, count: int, output: Path) -> str:
    """Writes the rows to label, most worth first, and says where they are.

    The file has the columns of the unlabeled one that are read, an empty one for the answer, and beside them what the
    models say and their doubt. Filled in, it is one more source of `data.labeled`.

    Raises:
        ConfigError: the run has not selected yet, or prompt and answer are one column.
    """
    from semievol.retrieval.dense import Embedder

    rows = doubtful(RunFolder(config.output), dataset.unlabeled)[:LOOKED_AT]
    vectors = Embedder(config.retrieval.embedder).embed([row.example.prompt for row in rows])
    places = worth_most([row.doubt for row in rows], [row.answer for row in rows], vectors, count)
    chosen = [rows[place] for place in places]
    cells = _cells(config, {row.example.id for row in chosen})
    lines = [cells[row.example.id] | {"models_say": row.answer, "doubt": round(row.doubt, 4)} for row in chosen]
    write_predictions(output, list(dict.fromkeys(name for line in lines for name in line)), lines)
    counts = Counter(row.answer or "no answer" for row in chosen).most_common()
    answers_counted = ", ".join(f"{answer} {number}" for answer, number in counts)
    return f"{output}: {len(chosen)} rows to label; the models say {answers_counted}"


def doubtful(folder: RunFolder, unlabeled: Sequence[Example]) -> list[Doubtful]:
    """Every unlabeled row, the most doubtful first.

    Doubt is the probability that the answer is wrong; if the run has none, the row's rank by H, or without H the share
    of the collaborators that gave another answer. A row without an answer is all doubt.

    Raises:
        ConfigError: the run has not selected yet.
    """
    last = {row["id"]: row for row in last_fates(selections_of(folder))}
    h = np.sort([row["mean_nll"] for row in last.values() if row["mean_nll"] is not None])

    def doubt(row: Mapping[str, Any]) -> float:
        if row["answer"] is None:
            return 1.0
        if row["probability"] is not None:
            return float(1 - row["probability"])
        if row["mean_nll"] is not None:
            return float(np.searchsorted(h, row["mean_nll"]) / len(h))
        return float(1 - row["agreement"])

    rows = [Doubtful(example, last[example.id]["answer"] or "", doubt(last[example.id])) for example in unlabeled]
    return sorted(rows, key=lambda row: -row.doubt)


def worth_most(
    doubt: Sequence[float], answers: Sequence[str], vectors: npt.NDArray[np.float32], count: int
) -> list[int]:
    """The places of `count` rows, most worth first.

    Args:
        doubt: of each row, 0 to 1.
        answers: what the models say; a row in turn of each, by the doubt of its rows.
        vectors: unit vectors, (N, d).
    """
    similar = np.clip(vectors @ vectors.T, 0.0, 1.0)
    np.fill_diagonal(similar, 0.0)
    near = -np.sort(-similar, axis=1)[:, :NEAR]
    worth = np.asarray(doubt) * (near.mean(axis=1) if near.shape[1] else 1.0)
    shares: dict[str, float] = defaultdict(float)
    for answer, of_row in zip(answers, doubt, strict=True):
        shares[answer] += of_row
    places: list[int] = []
    places_of: Counter[str] = Counter()
    candidates = set(range(len(answers)))
    while candidates and len(places) < count:
        open_answers = {answers[place] for place in candidates}
        turn = min(open_answers, key=lambda answer: ((places_of[answer] + 1) / max(shares[answer], 1e-9), answer))
        best = max((place for place in candidates if answers[place] == turn), key=lambda place: (worth[place], -place))
        places.append(best)
        candidates.remove(best)
        places_of[turn] += 1
        worth = worth * (1 - similar[best])
    return places


def _cells(config: Config, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What stands in the columns of the rows to label but their answers, by id; the answers' column is empty.

    Raises:
        ConfigError: prompt and answer are one column.
    """
    split = open_splits(config)["unlabeled"]
    layout, id_column = split.layout, config.data.columns.id
    if layout.answer_column in layout.prompt_columns:
        raise ConfigError(
            f"semievol ask: as data.layout is {layout.name}, prompt and answer are one column, which nobody can fill in"
        )
    cells = {}
    for row in split.rows(None):
        id_ = split.unnamed(row) if id_column is None else text(row.cells.get(id_column)).strip()
        if id_ in ids:
            present = {name: cell for name, cell in row.cells.items() if cell is not None and name != id_column}
            cells[id_] = {id_column or "id": id_, **present, layout.answer_column: ""}
    return cells
