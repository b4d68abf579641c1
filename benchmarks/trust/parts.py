"""What each part of the pool does to the pseudo-labels, from kept scores: `python -m benchmarks.trust.parts`.

The scores are those of M_warm and of four adapters that have each not seen a quarter of the labels, and of two views,
on the labeled rows out of fold, the unlabeled rows and the test rows of five tasks with three seeds each. They were
made once, on a GPU; everything here is arithmetic on them, so it measures pseudo-labels and no student.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.pages import ROOT, write_part
from semievol.metrics import macro_f1
from semievol.stages.select import threshold
from semievol.trust import Array
from semievol.trust.calibration import log_loss, tempered
from semievol.trust.estimates import calibration_error, estimate, risk_coverage
from semievol.trust.pool import FLOOR, Pool, cross_fitted, fitted
from semievol.trust.rules import least_for_error, least_for_precision

PAGE = ROOT / "docs/trust.md"
SCORES = ROOT / "benchmarks/results/trust/scores"
TASKS = ("newsgroups", "r8", "fpb", "tweets", "reviews")
"""Those on which SFT is above chance."""
FOLDS = ("fold0", "fold1", "fold2", "fold3")
UNSEEN = ("unlabeled", "test")
Verdicts = npt.NDArray[np.bool_]
Combined = Callable[["Cell"], dict[str, Array]]
"""The distribution of a cell's labeled rows (out of fold), unlabeled rows and test rows."""


@dataclass(frozen=True)
class Cell:
    """The scores of one task and seed."""

    task: str
    scores: dict[str, Array]

    @classmethod
    def read(cls, path: Path) -> "Cell":
        """The scores in a file."""
        with np.load(path) as arrays:
            scores = {name: arrays[name] for name in arrays.files}
        half = {name: array.astype(float) for name, array in scores.items() if array.dtype == np.float16}
        return cls(path.stem.rpartition("-")[0], {**scores, **half})

    def truth(self, split: str) -> Array:
        """The column of each row's true answer."""
        return self.scores[f"truth/{split}"].astype(int)

    @property
    def parts(self) -> list[int]:
        """The fold of each labeled row."""
        return [int(part) for part in self.scores["folds"]]

    def committee(self, split: str, members: Sequence[str] = ("warm", *FOLDS), geometric: bool = True) -> Array:
        """The committee's log-probabilities; of labeled rows those of the adapter that has not seen them."""
        if split == "labeled":
            return tempered(np.stack([self.scores[f"fold{part}/labeled"][row] for row, part in enumerate(self.parts)]))
        logs = np.stack([tempered(self.scores[f"{member}/{split}"]) for member in members])
        return tempered(logs.mean(axis=0)) if geometric else np.log(np.exp(logs).mean(axis=0))

    def views(self, split: str, names: Sequence[str]) -> list[Array]:
        """The classifiers' log-probabilities."""
        return [np.log(np.maximum(self.scores[f"{name}/{split}"], FLOOR)) for name in names]


def pooled(
    cell: Cell,
    views: Sequence[str] = ("lr", "knn"),
    change: Callable[[Pool], Pool] = lambda pool: pool,
    linear: bool = False,
    **committee: object,
) -> dict[str, Array]:
    """The pool of `semievol.trust.pool`, with something exchanged."""

    def inputs(split: str) -> list[Array]:
        return [cell.committee(split, **committee), *cell.views(split, views)]  # type: ignore[arg-type]

    known, truth = inputs("labeled"), cell.truth("labeled")
    pool = change(fitted(known, truth))
    combine = partial(_mixture, pool) if linear else pool.combined
    return {"labeled": cross_fitted(known, truth, cell.parts)} | {split: combine(inputs(split)) for split in UNSEEN}


def by_h(cell: Cell) -> dict[str, Array]:
    """M_warm's own answers, as sure as exp(-H): the paper's confidence."""
    result = {}
    for split in UNSEEN:
        best = np.exp(cell.committee(split, members=("warm",))).argmax(axis=1)
        sure = np.exp(-cell.scores[f"h/{split}"])
        rest = (1 - sure) / (cell.scores[f"warm/{split}"].shape[1] - 1)
        result[split] = np.where(np.eye(cell.scores[f"warm/{split}"].shape[1])[best] > 0, sure[:, None], rest[:, None])
    return result


def _mixture(pool: Pool, views: Sequence[Array]) -> Array:
    """The linear mixture with the pool's weights and temperatures."""
    parts = zip(pool.weights, views, pool.temperatures, strict=True)
    total: Array = sum(weight * np.exp(tempered(view, by)) for weight, view, by in parts)  # type: ignore[assignment]
    return total


VARIANTS: dict[str, Combined] = {
    "M_warm, by H (the paper)": by_h,
    "the preset": pooled,
    "committee alone": partial(pooled, views=()),
    "committee and logistic regression": partial(pooled, views=("lr",)),
    "committee and nearest neighbours": partial(pooled, views=("knn",)),
    "without M_warm in the committee": partial(pooled, members=FOLDS),
    "M_warm in place of the committee": partial(pooled, members=("warm",)),
    "arithmetic mean of the committee": partial(pooled, geometric=False),
    "without temperatures": partial(
        pooled, change=lambda pool: replace(pool, temperatures=(1.0,) * len(pool.weights), sharpening=1.0)
    ),
    "equal weights": partial(pooled, change=lambda pool: replace(pool, weights=(1 / 3,) * 3)),
    "without shifts": partial(pooled, change=lambda pool: replace(pool, shifts=())),
    "linear mixture, without shifts": partial(pooled, linear=True),
}


def parts_table(of: Sequence[Cell]) -> list[str]:
    """A line for each variant: means over tasks and seeds, unlabeled and test rows together."""
    lines = [
        "| pseudo-labels by | right, % | macro-F1 | mean probability, % | log-loss | calibration error | area under "
        f"risk-coverage | {' | '.join(TASKS)} |",
        f"|---|{'---:|' * (6 + len(TASKS))}",
    ]
    for name, combined in VARIANTS.items():
        figures: list[tuple[float, ...]] = []
        of_task: dict[str, list[float]] = {task: [] for task in TASKS}
        for cell in of:
            distributions = combined(cell)
            for split in UNSEEN:
                of_split = _figures(distributions[split], cell.truth(split))
                figures.append(of_split)
                of_task[cell.task].append(of_split[0])
        right, f1, sure, loss, error, area = np.mean(figures, axis=0)
        tasks = " | ".join(f"{100 * np.mean(of_task[task]):.1f}" for task in TASKS)
        lines.append(
            f"| {name} | {100 * right:.1f} | {100 * f1:.1f} | {100 * sure:.1f} | {loss:.3f} | {error:.3f} | {area:.4f} "
            f"| {tasks} |"
        )
    return lines


def promises_table(of: Sequence[Cell]) -> list[str]:
    """What the rules promise of the unlabeled rows, and what is true."""
    rules: dict[str, Callable[[Array, Array, list[bool]], float]] = {
        "all rows": lambda confidence, known, right: 0.0,
        "`precision: 0.9`": lambda confidence, known, right: least_for_precision(confidence, 0.9),
        "`precision: 0.95`": lambda confidence, known, right: least_for_precision(confidence, 0.95),
        "`max_error: 0.05`": lambda confidence, known, right: least_for_error(confidence, known, right, 0.05),
        "`max_error: 0.1`": lambda confidence, known, right: least_for_error(confidence, known, right, 0.1),
    }
    lines = [
        "| rule | kept, % | right, % | expected, % | off by, points | in the 90 % interval | not below the bound | "
        "wrong at most, % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, least_of in rules.items():
        found = []
        for cell in of:
            distributions, truth = pooled(cell), cell.truth("unlabeled")
            known, confidence = distributions["labeled"].max(axis=1), distributions["unlabeled"].max(axis=1)
            right = (distributions["labeled"].argmax(axis=1) == cell.truth("labeled")).tolist()
            least = least_of(confidence, known, right)
            told = [verdict for verdict, sure in zip(right, known, strict=True) if sure >= least]
            promise = estimate(confidence[confidence >= least], told)
            if promise is None:
                continue
            share = (distributions["unlabeled"].argmax(axis=1) == truth)[confidence >= least].mean()
            off, inside = abs(promise.expected - share), promise.low <= share <= promise.high
            found.append((promise.rows / len(truth), share, promise.expected, off, inside, promise.bound <= share))
        kept, share, expected, off, inside, above = np.mean(found, axis=0)
        shares = [f"{100 * value:.1f}" for value in (share, expected, off)]
        counts = [f"{round(value * len(found))} of {len(found)}" for value in (inside, above)]
        worst = 1 - min(row[1] for row in found)
        lines.append(f"| {name} | {100 * kept:.0f} | {' | '.join([*shares, *counts])} | {100 * worst:.1f} |")
    return lines


def selection_table(of: Sequence[Cell]) -> list[str]:
    """How many unlabeled rows other rules keep of M_warm's own answers, and how many of those are right."""
    rules: dict[str, Callable[[Cell], tuple[Verdicts, Array]]] = {
        "the paper: the half with the lower H": _lower_half,
        "the half with the lower H of each answer": _lower_half_of_each,
        "FixMatch: M_warm's probability at least 0.95": _fixed,
        "FreeMatch: thresholds that follow M_warm's confidence": _adaptive,
        "the pool: `precision: 0.95`": _precise,
    }
    lines = [f"| rule | kept, % | right, % | {' | '.join(TASKS)} |", f"|---|---:|---:|{'---:|' * len(TASKS)}"]
    for name, kept_by in rules.items():
        found: dict[str, list[tuple[float, float]]] = {task: [] for task in TASKS}
        for cell in of:
            kept, answers = kept_by(cell)
            found[cell.task].append((kept.mean(), (answers == cell.truth("unlabeled"))[kept].mean()))
        share, right = np.mean([pair for pairs in found.values() for pair in pairs], axis=0)
        tasks = " | ".join(f"{100 * np.mean([r for _, r in found[task]]):.1f}" for task in TASKS)
        lines.append(f"| {name} | {100 * share:.0f} | {100 * right:.1f} | {tasks} |")
    return lines


def _warm(cell: Cell) -> tuple[Array, Array, Array]:
    """M_warm's answers to the unlabeled rows, their probabilities among all answers, and their H."""
    shares = np.exp(cell.committee("unlabeled", members=("warm",)))
    return shares.argmax(axis=1), shares, cell.scores["h/unlabeled"]


def _lower_half(cell: Cell) -> tuple[Verdicts, Array]:
    answers, _, h = _warm(cell)
    return np.asarray(h <= threshold(h.tolist(), 0.5)), answers


def _lower_half_of_each(cell: Cell) -> tuple[Verdicts, Array]:
    answers, _, h = _warm(cell)
    taus = {answer: threshold(h[answers == answer].tolist(), 0.5) for answer in np.unique(answers)}
    return np.array([h_of_row <= taus[answer] for answer, h_of_row in zip(answers, h, strict=True)]), answers


def _fixed(cell: Cell) -> tuple[Verdicts, Array]:
    """Sohn et al. 2020, arXiv 2001.07685."""
    answers, shares, _ = _warm(cell)
    return shares.max(axis=1) >= 0.95, answers


def _adaptive(cell: Cell) -> tuple[Verdicts, Array]:
    """Wang et al. 2023, arXiv 2205.07246, its thresholds as they are at the end of a training."""
    answers, shares, _ = _warm(cell)
    of_answer = shares.mean(axis=0) / shares.mean(axis=0).max()
    return shares.max(axis=1) >= shares.max(axis=1).mean() * of_answer[answers], answers


def _precise(cell: Cell) -> tuple[Verdicts, Array]:
    distribution = pooled(cell)["unlabeled"]
    confidence = distribution.max(axis=1)
    return confidence >= least_for_precision(confidence, 0.95), distribution.argmax(axis=1)


def _figures(distribution: Array, truth: Array) -> tuple[float, ...]:
    answers, confidence = distribution.argmax(axis=1), distribution.max(axis=1)
    right = answers == truth
    loss = log_loss(np.log(np.maximum(distribution, FLOOR)), truth)
    error, area = calibration_error(confidence, right), risk_coverage(confidence, right)
    return (
        float(right.mean()),
        macro_f1([*map(str, truth)], [*map(str, answers)]),
        float(confidence.mean()),
        loss,
        error,
        area,
    )


def cells() -> list[Cell]:
    """Those of the tasks on which SFT is above chance."""
    return [Cell.read(path) for task in TASKS for path in sorted(SCORES.glob(f"{task}-*.npz"))]


def tables() -> str:
    """All tables, as Markdown."""
    three = (parts_table, promises_table, selection_table)
    return "\n\n".join("\n".join(table(cells())) for table in three)


if __name__ == "__main__":
    write_part(PAGE, "trust parts", tables())
