"""Evolution (Eq. 9): M_evol = FT(M_base, D_labeled ∪ D_selected)."""

import dataclasses
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from semievol.data import StoredExamples, store
from semievol.errors import TrainingError
from semievol.records import Example
from semievol.run_folder.damage import damaged
from semievol.run_folder.parquet import iter_rows
from semievol.run_folder.stage import Stage
from semievol.stages.round import Round
from semievol.stages.warmup import TrainingRows, forget, recipe_key, rows_digest, train
from semievol.training.folder import TrainingFolder


def evolve(round_: Round, selection: Stage) -> Stage:
    """The stage folder with the evolved model's adapter.

    Raises:
        TrainingError: there is nothing to train on.
    """
    config = round_.config
    examples = labeled_and_selected(round_, selection)
    weights = array("d", [1.0]) * len(round_.labeled) + _weights(selection)
    start = 0 if config.evolve.include_labeled else len(round_.labeled)
    rows = TrainingRows(round_.task, examples[start:], weights[start:])
    if not rows:
        raise TrainingError("evolve: selection kept no row and evolve.include_labeled is false; raise select.theta")
    recipe = config.recipe("evolve")
    from_warm = config.evolve.start_from == "warm"
    stage = round_.stage("evolve")
    key = round_.key(
        "evolve",
        recipe=recipe_key(recipe),
        rows=rows_digest(rows),
        start_from=round_.warm_digest if from_warm else "base",
    )
    if round_.begin(stage, key, selection.revision, renew=lambda old: forget(round_, stage, old)):
        start_from = TrainingFolder(round_.models["warm"]).weights if from_warm else None
        train(round_, stage, rows, recipe, title="evolve", start_from=start_from)
    return stage


def labeled_and_selected(round_: Round, selection: Stage) -> StoredExamples:
    """The labeled rows, then the selected ones with their pseudo-labels in the order of the unlabeled rows."""
    return store(chain(round_.labeled, _pseudo_labeled(round_, selection)), round_.folder.rows_path)


def _weights(selection: Stage) -> "array[float]":
    """How much each kept row counts."""
    rows = iter_rows(selection.rows_path, ["kept", "weight"])
    return array("d", (row["weight"] for row in rows if row["kept"]))


def _pseudo_labeled(round_: Round, selection: Stage) -> Iterator[Example]:
    for example, row in decisions(round_, selection, ["answer", "response", "kept"]):
        if row["kept"]:
            response = row["response"] if round_.has_solutions else None
            yield dataclasses.replace(example, answer=row["answer"], response=response)


def decisions(round_: Round, selection: Stage, columns: Sequence[str]) -> Iterator[tuple[Example, Mapping[str, Any]]]:
    """Each unlabeled row with what the selection says of it.

    Raises:
        RunFolderError: it says so of other rows.
    """
    rows = iter_rows(selection.rows_path, list(dict.fromkeys(["id", *columns])))
    for example, row in zip_longest(round_.unlabeled, rows):
        if example is None or row is None or example.id != row["id"]:
            raise damaged(selection.rows_path, "its rows are not the unlabeled ones")
        yield example, row
