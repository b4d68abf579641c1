"""The arithmetic of results: accuracy with its interval, macro-F1, how well confidence ranks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# scipy.stats has all of this, and takes half a second to import.
_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def interval(right: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, as two numbers from 0 to 1; (0, 1) without rows."""
    if total == 0:
        return 0.0, 1.0
    share, square = right / total, _Z**2 / total
    center = share + square / 2
    half = math.sqrt(square * (share * (1 - share) + square / 4))
    low, high = (center - half) / (1 + square), (center + half) / (1 + square)
    return (low if right else 0.0), (high if right < total else 1.0)


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
    positive = sum(right)
    negative = len(right) - positive
    if not positive or not negative:
        return None
    ordered = np.sort(confidence)
    # From 1; equals share the mean of their ranks.
    ranks = (ordered.searchsorted(confidence, "left") + ordered.searchsorted(confidence, "right") + 1) / 2
    total = float(ranks[np.asarray(right, dtype=bool)].sum())
    return (total - positive * (positive + 1) / 2) / (positive * negative)
