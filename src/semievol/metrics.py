"""The arithmetic of results: accuracy with its interval, macro-F1, how well confidence ranks, paired differences."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# scipy.stats has this, and takes half a second to import.
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


def f1_of_sets(truth: Sequence[frozenset[str]], answers: Sequence[frozenset[str]]) -> tuple[float, float]:
    """Micro and macro F1 of sets of labels, over the labels that occur; 0 where none does.

    Micro F1 is that of all pairs of row and label together, macro F1 the mean over labels.
    """
    scores, pairs = [], [0, 0]
    for label in sorted(frozenset().union(*truth, *answers)):
        right = sum(label in true_set and label in answer for true_set, answer in zip(truth, answers, strict=True))
        true_or_answered = sum(label in labels for labels in (*truth, *answers))
        scores.append(2 * right / true_or_answered)
        pairs = [pairs[0] + right, pairs[1] + true_or_answered]
    return (2 * pairs[0] / pairs[1], float(np.mean(scores))) if scores else (0.0, 0.0)


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


def mcnemar(ahead: int, behind: int) -> float:
    """The exact two-sided p-value of McNemar's test.

    Args:
        ahead: rows that only the one has right.
        behind: rows that only the other has right.
    """
    return exchange_test([1] * ahead + [-1] * behind)


def exchange_test(sums: Sequence[int]) -> float:
    """The exact two-sided p-value of the hypothesis that the two models may be exchanged on each row.

    With one seed this is McNemar's test. With several, the answers to one test row hang together and are exchanged
    together.

    Args:
        sums: for each test row, the seeds in which only the one is right less those in which only the other is.
    """
    from scipy.special import bdtr, gammaln

    sizes = np.abs(np.asarray([group_sum for group_sum in sums if group_sum], dtype=np.int64))
    observed = abs(sum(sums))
    if not len(sizes):
        return 1.0
    if sizes.max() == 1:  # twice the smaller tail of the binomial distribution at 1/2, which is symmetric
        return min(1.0, 2 * float(bdtr((len(sizes) - observed) // 2, len(sizes), 0.5)))
    chances = np.ones(1)
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        heads = np.arange(count + 1)
        logs = gammaln(count + 1) - gammaln(heads + 1) - gammaln(count - heads + 1) - count * math.log(2)
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = np.exp(logs)
        chances = np.convolve(chances, spread)
    total = int(sizes.sum())
    return min(1.0, float(chances[np.abs(np.arange(-total, total + 1)) >= observed].sum()))


def difference_interval(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of the difference of two accuracies, by a paired bootstrap of 10,000 draws.

    Test rows are drawn with replacement, each with both models' answers; if there are several seeds, they are
    drawn too.

    Args:
        first: (seeds, rows), 1 if the one is right, 0 if it is wrong, nan if a seed has no such row.
        second: the same of the other, on the same rows.
    """
    gain, has_both = np.nan_to_num(first - second), (~np.isnan(first)).astype(float)  # (S, N)
    seeds, rows = gain.shape
    rng = np.random.default_rng(0)
    means = []
    for _ in range(_DRAWS // _DRAWN_TOGETHER):
        row_counts = rng.multinomial(rows, np.full(rows, 1 / rows), _DRAWN_TOGETHER).astype(float)  # (B, N)
        seed_counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), _DRAWN_TOGETHER)  # (B, S)
        gain_sums, count_sums = ((row_counts @ matrix.T * seed_counts).sum(axis=1) for matrix in (gain, has_both))
        means.append(gain_sums / np.maximum(count_sums, 1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


_DRAWS, _DRAWN_TOGETHER = 10_000, 100


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected for their number by Holm's step-down method, in their order."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the sample standard deviation if there are two values or more."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
