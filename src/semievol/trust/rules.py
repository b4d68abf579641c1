"""Which pseudo-labels are kept, by a promise of how many of them are right."""

from collections.abc import Sequence

import numpy as np

from semievol.trust import Array


def least_for_precision(confidence: Array, precision: float) -> float:
    """The least confidence of the largest set of surest rows whose mean confidence reaches `precision`.

    inf if no row does. Rows of equal confidence are in or out together.

    Args:
        confidence: the calibrated probability that each row's answer is right, (N,).
    """
    ordered = np.sort(confidence)[::-1]
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    is_last = np.append(ordered[1:] < ordered[:-1], True)[: len(ordered)]  # of those of equal confidence
    reaching = np.flatnonzero((means >= precision) & is_last)
    return float(ordered[reaching[-1]]) if len(reaching) else np.inf


def least_for_error(confidence: Array, known: Array, right: Sequence[bool], max_error: float) -> float:
    """The least confidence that conformal selection keeps (Jin and Candès 2023, arXiv 2210.01408).

    A row's p-value is the share of labeled rows that were told wrong with at least its confidence, itself counted among
    them; Benjamini and Hochberg's step-up procedure keeps rows so that on average, over draws of the labeled rows, at
    most `max_error` of them are wrong. That holds if the rows are drawn alike, whatever the confidence is worth.
    inf if no row is kept.

    Args:
        confidence: of each unlabeled row, (N,).
        known: the confidence of each labeled row by a model that has not seen it, (M,).
        right: whether it was told right, (M,).
    """
    wrong = np.sort(known[~np.asarray(right, dtype=bool)])
    above = len(wrong) - np.searchsorted(wrong, confidence, side="left")
    p_values = (1 + above) / (len(known) + 1)
    ordered = np.sort(p_values)
    passing = np.flatnonzero(ordered <= max_error * np.arange(1, len(ordered) + 1) / len(ordered))
    if not len(passing):
        return np.inf
    return float(confidence[p_values <= ordered[passing[-1]]].min())
