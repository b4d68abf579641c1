"""A cross-fitted committee: adapters that have each not seen a part of the labels, and so can be held against it."""

from collections.abc import Sequence

from semievol.records import Example
from semievol.run_folder.stage import Stage
from semievol.stages.round import Round
from semievol.stages.warmup import TrainingRows, forget, recipe_key, rows_digest, train
from semievol.trust.folds import folds

FOLD = "fold-"
"""Models of the committee are called so, with the number of the part that they have not seen, from 1."""


def committee(round_: Round) -> dict[str, Stage]:
    """The stage folders of the adapters of `warmup.folds`, by their models' names; none if there are no folds."""
    count = round_.config.warmup.folds
    if count < 2 or not round_.config.warmup.enabled:
        return {}
    parts, recipe = parts_of(round_, round_.labeled), round_.config.recipe("warmup")
    stages = {}
    for part in range(1, count + 1):
        name = f"{FOLD}{part}"
        seen = [example for example, own in zip(round_.labeled, parts, strict=True) if own != part]
        rows = TrainingRows(round_.task, seen)
        stage = stages[name] = Stage(round_.stage("warmup").path / name, "warmup")
        key = round_.key("warmup", recipe=recipe_key(recipe), rows=rows_digest(rows))
        if round_.begin(stage, key, round_.revision, renew=lambda old, stage=stage: forget(round_, stage, old)):
            train(round_, stage, rows, recipe, title=f"warmup without part {part} of {count}")
    return stages


def parts_of(round_: Round, labeled: Sequence[Example]) -> list[int]:
    """The part of each labeled example, from 1."""
    return [part + 1 for part in folds(labeled, max(round_.config.warmup.folds, 2), round_.config.seed)]


def members(round_: Round, weights: str) -> list[str]:
    """The models that answer unlabeled rows for a collaborator with these weights."""
    return [weights, *(name for name in round_.models if name.startswith(FOLD))] if weights == "warm" else [weights]
