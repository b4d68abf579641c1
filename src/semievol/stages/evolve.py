"""Evolution (Eq. 9): M_evol = FT(M_base, D_labeled ∪ D_selected)."""

import dataclasses

from semievol.errors import TrainingError
from semievol.records import Example
from semievol.run_dir import StageDir
from semievol.stages.context import Round
from semievol.stages.select import selected
from semievol.stages.warmup import rows_digest, train, training_rows


def evolve(round_: Round, selection: StageDir) -> StageDir:
    """The stage folder with the evolved model's adapter.

    Raises:
        TrainingError: there is nothing to train on.
    """
    config = round_.config
    labeled = round_.labeled if config.evolve.include_labeled else []
    rows = training_rows(round_.task, [*labeled, *pseudo_labeled(round_, selection)])
    if not rows:
        raise TrainingError("evolve: selection kept no row and evolve.include_labeled is false; raise select.theta")
    recipe = config.recipe("evolve")
    from_warm = config.evolve.start_from == "warm"
    stage = round_.stage("evolve")
    key = round_.key(
        "evolve",
        recipe=recipe.model_dump(mode="json"),
        rows=rows_digest(rows),
        start_from=round_.warm_digest if from_warm else "base",
    )
    if stage.begin(key):
        start = round_.worker.weights["warm"] if from_warm else None
        train(round_, stage, rows, recipe, title="evolve", start_from=start)
    return stage


def pseudo_labeled(round_: Round, selection: StageDir) -> list[Example]:
    """The selected rows as labeled examples, in the order of the unlabeled rows."""
    by_id = {example.id: example for example in round_.unlabeled}
    return [
        dataclasses.replace(
            by_id[row["id"]], answer=row["answer"], response=row["response"] if round_.has_solutions else None
        )
        for row in selected(selection)
    ]
