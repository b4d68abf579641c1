"""Rules of selection by hand, against statsmodels' step-up procedure, and by what they promise."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from semievol.trust.rules import least_for_error, least_for_precision


@pytest.mark.parametrize(
    ("precision", "least"),
    [(0.95, 0.95), (0.9, 0.8), (0.99, 0.99), (0.75, 0.5), (0.995, np.inf)],
    ids=lambda value: str(value),
)
def test_the_largest_set_whose_mean_confidence_reaches_the_precision(precision: float, least: float) -> None:
    confidence = np.array([0.5, 0.95, 0.99, 0.8])  # means of the surest: 0.99, 0.97, 0.9133, 0.81
    assert least_for_precision(confidence, precision) == least


def test_rows_of_equal_confidence_are_in_or_out_together() -> None:
    assert least_for_precision(np.array([1.0, 0.8, 0.8]), 0.9) == 1.0  # the mean of the first two would reach it


def test_no_rows_give_no_threshold() -> None:
    assert least_for_precision(np.array([]), 0.5) == np.inf


def test_conformal_selection_is_benjamini_hochberg_on_p_values_counted_by_hand() -> None:
    rng = np.random.default_rng(2)
    known, confidence = rng.uniform(size=80), rng.uniform(size=200) ** 0.3
    right = list(rng.uniform(size=80) < known**0.2)
    p_values = [(1 + sum(c >= row and not ok for c, ok in zip(known, right, strict=True))) / 81 for row in confidence]
    rejected = multipletests(p_values, alpha=0.2, method="fdr_bh")[0]
    least = least_for_error(confidence, known, right, 0.2)
    assert rejected.any()
    assert ((confidence >= least) == rejected).all()


def test_nothing_is_kept_if_the_labels_are_too_few_to_promise_it() -> None:
    assert least_for_error(np.full(50, 0.9), np.array([0.5, 0.6]), [True, True], 0.05) == np.inf


def test_at_most_the_promised_share_is_wrong_on_average_however_bad_the_confidence() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(400):
        score = rng.normal(size=300)
        right = rng.uniform(size=300) < 1 / (1 + np.exp(-2 * score - 0.5))
        confidence = score / 100  # no probability at all
        least = least_for_error(confidence[100:], confidence[:100], list(right[:100]), 0.1)
        kept = confidence[100:] >= least
        shares.append((~right[100:][kept]).mean() if kept.any() else 0.0)
    assert 0.05 < np.mean(shares) < 0.11
