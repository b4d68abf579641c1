"""The arithmetic of results: accuracy with its interval, macro-F1, how well confidence ranks."""

from collections.abc import Sequence
from typing import Any


def interval(right: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, as two numbers from 0 to 1; (0, 1) without rows."""
    from scipy.stats import binomtest

    if total == 0:
        return 0.0, 1.0
    bounds = binomtest(right, total).proportion_ci(confidence_level=0.95, method="wilson")
    return float(bounds.low), float(bounds.high)


def accuracy(right: Sequence[bool]) -> dict[str, Any]:
    """Accuracy and its 95 % interval, from one verdict a row."""
    return share(sum(right), len(right))


def share(right: int, rows: int) -> dict[str, Any]:
    """Accuracy and its 95 % interval, from counts."""
    low, high = interval(right, rows)
    return {"rows": rows, "right": right, "accuracy": right / rows if rows else None, "low": low, "high": high}


def macro_f1(truth: Sequence[str], answers: Sequence[str | None]) -> float:
    """The unweighted mean over the classes in `truth` of their F1; a missing answer counts as wrong."""
    scores = []
    for name in sorted(set(truth)):
        hits = sum(t == name == a for t, a in zip(truth, answers, strict=True))
        scores.append(2 * hits / (truth.count(name) + list(answers).count(name)))
    return sum(scores) / len(scores) if scores else 0.0


def auroc(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Chance that a right answer is ranked above a wrong one, ties half; `None` if all are right or all wrong."""
    from scipy.stats import rankdata

    positive = sum(right)
    negative = len(right) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(confidence)
    total = sum(float(rank) for rank, is_right in zip(ranks, right, strict=True) if is_right)
    return (total - positive * (positive + 1) / 2) / (positive * negative)
