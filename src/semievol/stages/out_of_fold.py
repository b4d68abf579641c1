"""Labeled rows as what has not seen them tells them: what calibrated probabilities rest on."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semievol.errors import GateError
from semievol.records import OutOfFold
from semievol.run_folder.files import write_text
from semievol.run_folder.parquet import write_tables
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.committee import FOLD, parts_of
from semievol.stages.round import Round
from semievol.trust import Array, View, open_view
from semievol.trust.chance import above_chance
from semievol.trust.estimates import quality


def labeled_shards(stage: Stage) -> Shards:
    """What a stage says of the labeled rows, each out of fold."""
    return Shards(stage.path / "labeled")


def out_of_fold(round_: Round) -> Round:
    """The round in which each labeled row is answered by the adapter that has not seen it, in M_warm's place."""
    parts = zip(round_.labeled, parts_of(round_, round_.labeled), strict=True)
    return dataclasses.replace(round_, unseen={example.id: f"{FOLD}{part}" for example, part in parts})


def require_above_chance(round_: Round, answers: Sequence[str | None]) -> None:
    """Raises GateError if the labeled rows, out of fold, are told no better than by naming the most frequent answer.

    Args:
        answers: of each labeled row, by the collaborators together.

    Raises:
        GateError: they are right too rarely for a one-sided binomial test at 5 %.
    """
    if not round_.config.collaborate.gate:
        return
    pairs = zip(round_.labeled, answers, strict=True)
    right = sum(answer is not None and round_.task.equal(answer, example.answer or "") for example, answer in pairs)
    rows = len(round_.labeled)
    most = Counter(example.answer for example in round_.labeled).most_common(1)[0][1]
    if not above_chance(right, rows, most / rows):
        raise GateError(
            f"the models told {right} of {rows} labeled rows right that they had not seen, and naming the most "
            f"frequent answer tells {most}: pseudo-labels would be no better than chance, and nothing was spent on "
            "them. Take a stronger model, more labels or another recipe; collaborate.gate: false goes on regardless"
        )


def cross_fitted_views(round_: Round, parts: Sequence[int]) -> tuple[tuple[View, ...], list[Array]]:
    """The views of `justify.views`, and what each says of the labeled rows of each part that it has not seen.

    No views if the answers are not one closed set for all rows: what answer A was elsewhere tells nothing of A here.

    Returns:
        the views, learned from all labeled rows; of each, the log-probability of each answer, (N, K).
    """
    classes, config = round_.task.answers(), round_.config
    if classes is None:
        return (), []
    answers = [example.answer or "" for example in round_.labeled]

    def learned(kind: str, rows: Sequence[int]) -> View:
        view = open_view(kind, config.retrieval, classes)
        view.fit([round_.labeled[row] for row in rows], [answers[row] for row in rows])
        return view

    views, unseen = [], []
    for kind in config.justify.views:
        known = np.zeros((len(answers), len(classes)))
        for part in sorted(set(parts)):
            inside = [row for row, own in enumerate(parts) if own == part]
            outside = [row for row, own in enumerate(parts) if own != part]
            known[inside] = np.log(learned(kind, outside).probabilities([round_.labeled[row] for row in inside]))
        unseen.append(known)
        views.append(learned(kind, range(len(answers))))
    return tuple(views), unseen


def keep(stage: Stage, file: str, fit: Mapping[str, Any], rows: Sequence[OutOfFold], **figures: float) -> None:
    """Leaves in the stage's folder what was fitted, what it says of the labeled rows out of fold, and how good that is.

    Rows that another fit has settled, before failed requests were answered, are open again.
    """
    write_tables(stage.known_path, [table_of(rows, OutOfFold)], schema_of(OutOfFold))
    known = quality(np.array([row.probability for row in rows]), [row.right for row in rows]) if rows else {"rows": 0}
    path, content = stage.path / file, json.dumps({**fit, "out_of_fold": {**known, **figures}}, indent=2) + "\n"
    if path.exists() and path.read_bytes() != content.encode():
        for index in range(len(stage.shards.parts())):
            stage.shards.reopen(index)
    write_text(path, content)
