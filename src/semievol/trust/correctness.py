"""How likely a settled answer is right, by what speaks for it: logistic regression on answers whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semievol.trust import Array
from semievol.trust.classifiers import classifier

C = 1.0
"""The inverse strength of the regularization, on evidence of unit variance."""


@dataclass(frozen=True)
class Correctness:
    """The probability that an answer is right, given the evidence for it."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    """Of each kind of evidence among the answers that were learned from."""
    weights: tuple[float, ...]
    """Of each kind of evidence, and then of its absence."""
    intercept: float

    def probabilities(self, evidence: Array) -> Array:
        """(N,), each between 0 and 1.

        Args:
            evidence: one column of each kind, (N, F); NaN where there is none.
        """
        logits = _prepared(evidence, np.array(self.means), np.array(self.scales)) @ np.array(self.weights)
        probabilities: Array = 1 / (1 + np.exp(-(logits + self.intercept)))
        return probabilities


def learned(evidence: Array, right: Sequence[bool]) -> Correctness:
    """The model of answers whose truth is known; the share of right ones alone if all are right, or all wrong.

    Args:
        evidence: of each answer, (N, F), see `Correctness`.
        right: (N,).
    """
    known = np.isfinite(evidence)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, evidence, 0.0).sum(axis=0) / counts
    spread = np.sqrt(np.where(known, (evidence - means) ** 2, 0.0).sum(axis=0) / counts)
    scales = np.where(spread > 0, spread, 1.0)
    hits, rows = sum(right), len(right)
    if 0 < hits < rows:
        model = classifier(C).fit(_prepared(evidence, means, scales), list(right))
        weights, intercept = model.coef_[0], float(model.intercept_[0])
    else:
        share = (hits + 1) / (rows + 2)
        weights, intercept = np.zeros(2 * evidence.shape[1]), float(np.log(share / (1 - share)))
    return Correctness(tuple(means.tolist()), tuple(scales.tolist()), tuple(weights.tolist()), intercept)


def cross_fitted(evidence: Array, right: Sequence[bool], parts: Sequence[int]) -> Array:
    """The probability of each answer by a model that was learned from the other parts, (N,)."""
    verdicts, places = np.array(right, dtype=bool), np.array(parts)
    result = np.zeros(len(verdicts))
    for part in np.unique(places):
        inside = places == part
        result[inside] = learned(evidence[~inside], verdicts[~inside].tolist()).probabilities(evidence[inside])
    return result


def _prepared(evidence: Array, means: Array, scales: Array) -> Array:
    """Evidence of unit variance, the mean where there is none, and a column that says where, (N, 2F)."""
    known = np.isfinite(evidence)
    return np.hstack([np.where(known, (evidence - means) / scales, 0.0), ~known])
