"""How many of the kept pseudo-labels are right: what is expected, an interval, and a bound."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import beta, betabinom

from semievol import metrics
from semievol.trust import Array

STRENGTH = 10.0
"""As how many labeled rows the calibrated confidence counts, beside those that were told out of fold."""
BINS = 10


@dataclass(frozen=True)
class Promise:
    """The share of right answers among rows that are kept, from 0 to 1."""

    rows: int
    expected: float
    """From the calibrated confidence and the labeled rows that would have been kept."""
    low: float
    high: float
    """It lies between these in 90 % of the cases."""
    bound: float
    """It is at least this in 95 % of the cases, by those labeled rows alone (Clopper and Pearson 1934)."""

    def __str__(self) -> str:
        return spoken(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The fields, rounded."""
        return {name: value if name == "rows" else round(value, 4) for name, value in asdict(self).items()}


def spoken(promise: Mapping[str, Any]) -> str:
    """The fields of a promise in words."""
    expected, low, high, bound = (f"{promise[name]:.1%}" for name in ("expected", "low", "high", "bound"))
    return f"expected right {expected} (90 %: {low} to {high}; by the labels alone at least {bound})"


def estimate(kept: Array, right: Sequence[bool]) -> Promise | None:
    """What is expected of rows that are kept; `None` if there are none.

    Their mean confidence counts as `STRENGTH` labeled rows; those labeled rows that would have been kept come to it.
    The interval is that of the beta-binomial distribution of how many of the kept rows are right.

    Args:
        kept: the confidence of each kept row, (N,).
        right: of each labeled row that would have been kept, whether it was told right by what has not seen it.
    """
    if not len(kept):
        return None
    hits, misses = sum(right), len(right) - sum(right)
    mean = min(float(kept.mean()), 1.0)
    a, b = STRENGTH * mean + hits + 0.5, STRENGTH * (1 - mean) + misses + 0.5
    low, high = betabinom.ppf([0.05, 0.95], len(kept), a, b) / len(kept)
    bound = float(beta.ppf(0.05, hits, misses + 1)) if hits else 0.0
    return Promise(len(kept), a / (a + b), float(low), float(high), bound)


def quality(confidence: Array, right: Sequence[bool]) -> dict[str, float | None]:
    """What confidence is worth on rows whose answers are known: accuracy, ECE, AUROC, area under risk-coverage."""
    verdicts = np.asarray(right, dtype=bool)
    return {
        "rows": len(verdicts),
        "accuracy": float(verdicts.mean()),
        "confidence": float(confidence.mean()),
        "calibration_error": calibration_error(confidence, verdicts),
        "auroc": metrics.auroc(list(confidence), list(right)),
        "risk_coverage": risk_coverage(confidence, verdicts),
    }


def calibration_error(confidence: Array, right: Array) -> float:
    """Expected calibration error: the mean of |accuracy - confidence| over ten bins of equal width, by their rows."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(sums).sum() / len(confidence))


def risk_coverage(confidence: Array, right: Array) -> float:
    """Area under the risk-coverage curve: the share of wrong rows among the n surest, averaged over n.

    Rows of equal confidence come in any order: each counts with the mean verdict of its equals.
    """
    _, place, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=1.0 - right) / counts
    return float((np.cumsum(wrong[np.sort(place)]) / np.arange(1, len(right) + 1)).mean())
