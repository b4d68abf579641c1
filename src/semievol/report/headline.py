"""The result in a sentence that claims no more than the figures do."""

from collections.abc import Mapping, Sequence

from semievol.metrics import mcnemar
from semievol.report.failures import failure_lines
from semievol.report.table import TableRow, percent, results_table, unanswered
from semievol.run_folder import STAGES
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_rows

BASELINES: Mapping[str, str] = {
    "logistic_regression": "trained on the same labeled rows",
    "self_trained_logistic_regression": "trained on the same labeled rows and its own surest answers to the unlabeled",
    "setfit": "trained on pairs of the same labeled rows",
}
"""A baseline of `metrics.json` -> what it was trained on."""
Pair = tuple[str, bool, bool]
SURE = 0.05
"""Below this p-value a difference is called one."""


def headline(folder: RunFolder) -> str:
    """SemiEvol against SFT: the difference, whether the intervals overlap, and what the paired test says."""
    models = {row.key: row for row in results_table(folder) if row.kind == "model" and row.rows}
    evolved, warm = models.get("evolved"), models.get("warm")
    if evolved and warm:
        return _compared(folder, evolved, warm)
    best = evolved or warm or next(iter(models.values()), None)
    if best:
        return f"{best.name} answers {_share(best)} of {best.rows} test rows right; there is no SFT to compare with."
    stages_done = [stage.name for _, stage in folder.stages() if stage.is_done]
    reached = max(stages_done, key=STAGES.index, default=None)
    if reached == STAGES[-1]:
        return "No model was measured: evaluate.models is empty."
    return f"Nothing is measured yet: the run has {f'finished {reached}' if reached else 'finished no stage'}."


def remarks(folder: RunFolder) -> list[str]:
    """What belongs to the result and does not stand in the headline."""
    models = {row.key: row for row in results_table(folder) if row.kind == "model" and row.rows}
    lines = []
    evolved = models.get("evolved")
    for key, trained in BASELINES.items():
        simple = models.get(key)
        if evolved and simple and evolved.accuracy is not None and simple.accuracy is not None:
            relation = "more" if simple.accuracy > evolved.accuracy else "no more"
            lines.append(
                f"Logistic regression on embeddings, {trained}, reaches {_share(simple)}: {relation} than SemiEvol."
            )
    lines += unanswered((row.name, row.no_answer, row.cut) for row in models.values())
    lines += failure_lines(folder)
    if evolved:
        lines.append("This is one run with one seed. Another seed draws other rows and gives other figures.")
    return lines


def paired(folder: RunFolder, model: str, model_beside: str) -> tuple[int, int, float] | None:
    """Test rows that only `model` has right, rows that only `model_beside` has, and the exact McNemar p-value.

    `None` if the answers are not there.
    """
    pairs = answered_by_both(folder, model, model_beside)
    return None if pairs is None else counted(pairs)


def answered_by_both(folder: RunFolder, model: str, model_beside: str) -> list[Pair] | None:
    """Of each test row the truth, and whether each of the models is right; `None` if the answers are not there."""
    paths = [folder.stage("evaluate").answers_path(name) for name in (model, model_beside)]
    if not all(path.exists() for path in paths):
        return None
    first, second = (read_rows(path) for path in paths)
    right_beside = {row["id"]: bool(row["right"]) for row in second}
    return [(row["truth"], bool(row["right"]), right_beside[row["id"]]) for row in first]


def counted(pairs: Sequence[Pair]) -> tuple[int, int, float]:
    """Rows that only the first model has right, rows that only the second has, and the exact McNemar p-value."""
    only_one = sum(first and not second for _, first, second in pairs)
    only_other = sum(second and not first for _, first, second in pairs)
    return only_one, only_other, mcnemar(only_one, only_other)


def _compared(folder: RunFolder, evolved: TableRow, warm: TableRow) -> str:
    difference = 100 * ((evolved.accuracy or 0.0) - (warm.accuracy or 0.0))
    points = f"{abs(difference):.1f} points {'more' if difference > 0 else 'less'}" if difference else "the same"
    overlap = evolved.low <= warm.high and warm.low <= evolved.high
    sentence = (
        f"SemiEvol answers {_share(evolved)} of {evolved.rows} test rows right and SFT on the labeled rows alone "
        f"{_share(warm)}: {points}; their 95 % intervals {'overlap' if overlap else 'do not overlap'}"
    )
    counts = paired(folder, "evolved", "warm")
    if counts is None or not difference:
        return f"{sentence}."
    ahead, behind, p = counts
    verdict = "which chance does not explain well" if p < SURE else "which chance alone may explain"
    p_value = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return (
        f"{sentence}, and of the {ahead + behind} rows that just one of them has right SemiEvol has {ahead}, {verdict} "
        f"(exact McNemar test, {p_value})."
    )


def _share(row: TableRow) -> str:
    return f"{percent(row.accuracy)} %"
