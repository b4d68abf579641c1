"""Expected shares, intervals and bounds by hand and against statsmodels; curves against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from semievol.trust.estimates import STRENGTH, calibration_error, estimate, quality, risk_coverage


def test_the_expected_share_weighs_confidence_against_labels_by_hand() -> None:
    found = estimate(np.array([0.9, 0.7]), [True, False])
    assert found is not None
    assert found.rows == 2
    assert found.expected == pytest.approx((STRENGTH * 0.8 + 1.5) / (STRENGTH + 3))
    assert found.low <= found.expected <= found.high


def test_the_bound_is_clopper_pearsons_on_the_labels_that_would_be_kept() -> None:
    right = [row % 5 > 0 for row in range(20)]
    found = estimate(np.full(10, 0.9), right)
    expected, _ = proportion_confint(sum(right), len(right), alpha=0.1, method="beta")
    assert found is not None
    assert found.bound == pytest.approx(expected)


def test_nothing_is_promised_of_no_rows_and_nothing_is_bounded_without_labels() -> None:
    assert estimate(np.array([]), [True]) is None
    found = estimate(np.array([0.9]), [])
    assert found is not None
    assert found.bound == 0.0


def test_the_interval_holds_the_truth_in_nine_of_ten_cases_if_confidence_is_calibrated() -> None:
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(400):
        confidence = rng.beta(6, 2, size=500)
        right, kept = rng.uniform(size=500) < confidence, confidence >= 0.7
        found = estimate(confidence[100:][kept[100:]], right[:100][kept[:100]].tolist())
        assert found is not None
        inside.append(found.low <= right[100:][kept[100:]].mean() <= found.high)
    assert np.mean(inside) > 0.87


def test_the_calibration_error_of_three_rows_by_hand() -> None:
    # bin of 0.9: accuracy 0.5, confidence 0.92; bin of 0.2: 1 and 0.25
    error = calibration_error(np.array([0.91, 0.93, 0.25]), np.array([True, False, True]))
    assert error == pytest.approx((2 * 0.42 + 0.75) / 3)


def test_the_area_under_risk_coverage_by_hand_with_ties_in_any_order() -> None:
    right = np.array([True, False, True, False])
    assert risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    tied = risk_coverage(np.array([0.9, 0.9, 0.7, 0.6]), right)
    assert tied == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_quality_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    confidence = rng.uniform(size=100)
    right = list(rng.uniform(size=100) < confidence)
    figures = quality(confidence, right)
    assert figures["auroc"] == pytest.approx(roc_auc_score(right, confidence))
    assert figures["accuracy"] == np.mean(right)
