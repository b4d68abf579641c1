"""One calibrated distribution out of several views: a log-opinion pool whose weights are those of a mixture.

Each view gets a temperature. The weights are those with which a linear mixture of the views explains the labels best
(EM, with a weak Dirichlet prior towards equality); they sum to 1, so a view that is much better than the others takes
nearly all. The views are then multiplied with these weights as exponents, and a last temperature makes up for what they
know in common. Last, if all rows can have the same answers, each answer is shifted so that the pool gives them as often
as the labels do: views that have seen a rare answer once or never give it less than its share. All of it is fitted on
labels that no view has seen.

The linear mixture with the same weights is as often right, and less sure than it should be. Weights of a log pool that
are fitted for themselves lose two points where one view is best (docs/trust.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from semievol.trust import Array
from semievol.trust.calibration import temperature, tempered

FLOOR = 1e-9
"""The least probability of an answer that can be given: no view can rule one out for all."""
DIRICHLET = 2.0
"""Each view's concentration in the prior of the weights: one more label that it explains alone."""
STEPS = 200
ADDED = 1.0
"""How many labels each answer has beside those that there are (Laplace): one that no label has is not impossible."""


@dataclass(frozen=True)
class Pool:
    """What makes one distribution of several."""

    temperatures: tuple[float, ...]
    """One of each view."""
    weights: tuple[float, ...]
    """One of each view; they sum to 1."""
    sharpening: float
    """The temperature of the product."""
    shifts: tuple[float, ...] = ()
    """What is added to the log-odds of each answer; nothing if rows have answers of their own."""

    def combined(self, views: Sequence[Array]) -> Array:
        """The views' log-probabilities, each (N, K), as one distribution, (N, K) probabilities."""
        shifts = np.asarray(self.shifts) if self.shifts else 0.0
        return np.exp(tempered(tempered(self._product(views), self.sharpening) + shifts))

    def _product(self, views: Sequence[Array]) -> Array:
        total: Array = sum(  # type: ignore[assignment]
            weight * _floored(tempered(view, by))
            for view, by, weight in zip(views, self.temperatures, self.weights, strict=True)
        )
        return total


def fitted(views: Sequence[Array], truth: Array, recurring: bool = True) -> Pool:
    """The pool that fits the labels.

    Args:
        views: each view's log-probabilities of labeled rows that it has not seen, (N, K); -inf where a row has no such
            answer.
        truth: the column of each row's true answer, (N,).
        recurring: whether an answer is the same in all rows, and not the letter of an option of each.
    """
    temperatures = tuple(temperature(view, truth) for view in views)
    calibrated = [np.exp(_floored(tempered(view, by))) for view, by in zip(views, temperatures, strict=True)]
    explained = np.stack([view[np.arange(len(truth)), truth] for view in calibrated], axis=1)  # (N, V)
    pool = Pool(temperatures, mixture_weights(explained), 1.0)
    pool = replace(pool, sharpening=temperature(pool._product(views), truth))
    return replace(pool, shifts=_shifts(pool.combined(views), truth)) if recurring else pool


def _shifts(distribution: Array, truth: Array) -> tuple[float, ...]:
    """Log of how often each answer is true over how often the pool gives it, by the labeled rows."""
    counts = np.bincount(truth, minlength=distribution.shape[1]) + ADDED
    shifts = np.log(counts / counts.sum()) - np.log(distribution.mean(axis=0))
    return tuple(shifts.tolist())


def cross_fitted(views: Sequence[Array], truth: Array, parts: Sequence[int], recurring: bool = True) -> Array:
    """The distribution of each labeled row by a pool that was fitted on the other parts, (N, K).

    It is what the pool predicts for itself: nothing that made a row's distribution has seen its label.
    """
    result = np.zeros_like(views[0])
    for part in sorted(set(parts)):
        inside = np.array([p == part for p in parts])
        pool = fitted([view[~inside] for view in views], truth[~inside], recurring)
        result[inside] = pool.combined([view[inside] for view in views])
    return result


def mixture_weights(explained: Array) -> tuple[float, ...]:
    """The weights of a mixture by expectation maximisation.

    Args:
        explained: the probability that each view gives each row's true answer, (N, V).
    """
    rows, views = explained.shape
    weights = np.full(views, 1 / views)
    for _ in range(STEPS):
        shares = explained * weights
        shares /= shares.sum(axis=1, keepdims=True)
        weights = (shares.sum(axis=0) + DIRICHLET - 1) / (rows + views * (DIRICHLET - 1))
    return tuple(weights.tolist())


def _floored(log_probabilities: Array) -> Array:
    possible = np.isfinite(log_probabilities)
    floored: Array = np.where(possible, np.maximum(log_probabilities, np.log(FLOOR)), log_probabilities)
    return floored
