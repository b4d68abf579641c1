"""How likely an answer is right, learned from answers whose truth is known."""

import numpy as np
import pytest
from sklearn import linear_model, preprocessing

from semievol.trust.correctness import C, cross_fitted, learned

NAN = float("nan")


def answers(rows: int, seed: int) -> tuple[np.ndarray, list[bool]]:
    """Evidence whose first column tells, and whose second does not."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal(size=(rows, 2)) * [3.0, 0.1] + [5.0, 1.0]
    return evidence, (rng.random(rows) < 1 / (1 + np.exp(-(evidence[:, 0] - 4)))).tolist()


def test_it_is_scikit_learns_regression_on_evidence_of_unit_variance() -> None:
    evidence, right = answers(80, seed=0)
    scaler = preprocessing.StandardScaler().fit(evidence)
    model = linear_model.LogisticRegression(C=C).fit(scaler.transform(evidence), right)
    fresh, _ = answers(20, seed=1)
    expected = model.predict_proba(scaler.transform(fresh))[:, 1]
    assert learned(evidence, right).probabilities(fresh) == pytest.approx(expected, abs=1e-4)


def test_probabilities_are_as_high_as_answers_are_right() -> None:
    evidence, right = answers(200, seed=2)
    fresh, truth = answers(4000, seed=3)
    probabilities = learned(evidence, right).probabilities(fresh)
    for low in (0.1, 0.3, 0.5, 0.7, 0.9):
        inside = abs(probabilities - low) < 0.1
        assert np.mean(np.array(truth)[inside]) == pytest.approx(low, abs=0.1)


def test_evidence_that_is_not_there_counts_as_the_mean_and_its_absence_tells() -> None:
    evidence, right = answers(200, seed=4)
    without = evidence.copy()
    without[::2, 0] = NAN
    model = learned(without, [row % 2 == 1 for row in range(200)])
    assert model.probabilities(np.array([[NAN, 1.0]]))[0] < 0.1 < 0.9 < model.probabilities(np.array([[5.0, 1.0]]))[0]
    always = learned(evidence, right)
    mean = evidence.mean(axis=0)
    assert always.probabilities(np.array([[NAN, NAN]])) == pytest.approx(always.probabilities(mean[None]))


@pytest.mark.parametrize(("right", "expected"), [([True] * 8, 0.9), ([False] * 8, 0.1)])
def test_answers_that_are_all_right_or_all_wrong_leave_a_doubt(right: list[bool], expected: float) -> None:
    evidence, _ = answers(8, seed=5)
    assert learned(evidence, right).probabilities(evidence) == pytest.approx(expected)


def test_evidence_that_is_always_the_same_tells_nothing() -> None:
    evidence, right = answers(100, seed=6)
    constant = np.column_stack([evidence, np.full(100, 7.0), np.full(100, NAN)])
    assert learned(constant, right).probabilities(constant) == pytest.approx(
        learned(evidence, right).probabilities(evidence), abs=1e-3
    )


def test_the_probability_of_a_row_does_not_hang_on_its_own_truth() -> None:
    evidence, right = answers(60, seed=7)
    parts = [row % 4 for row in range(60)]
    other = [not verdict if part == 2 else verdict for verdict, part in zip(right, parts, strict=True)]
    inside = np.array(parts) == 2
    assert np.array_equal(cross_fitted(evidence, right, parts)[inside], cross_fitted(evidence, other, parts)[inside])
    assert not np.array_equal(cross_fitted(evidence, right, parts), cross_fitted(evidence, other, parts))
