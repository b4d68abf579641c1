"""The pool against hand-worked products, scikit-learn's mixture arithmetic, and views of known worth."""

from dataclasses import replace

import numpy as np
import pytest

from semievol.trust.calibration import log_loss
from semievol.trust.pool import DIRICHLET, FLOOR, Pool, cross_fitted, fitted, mixture_weights

RNG = np.random.default_rng(1)
TRUTH = RNG.integers(0, 3, 300)


def view(strength: float, sureness: float = 1.0) -> np.ndarray:
    """Log-probabilities of 300 rows by a view that knows so much, and is so sure of it."""
    logits = sureness * (strength * np.eye(3)[TRUTH] + RNG.normal(size=(300, 3)))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_two_views_are_multiplied_with_their_weights_as_exponents() -> None:
    pool = Pool(temperatures=(1.0, 1.0), weights=(0.5, 0.5), sharpening=0.5)
    told = pool.combined([np.log([[0.8, 0.2]]), np.log([[0.6, 0.4]])])
    assert told[0, 0] / told[0, 1] == pytest.approx(4 * 1.5)  # (4 * 1.5) ** (0.5 / 0.5)


def test_weights_are_where_one_more_step_of_expectation_maximisation_leads() -> None:
    explained = RNG.uniform(0.05, 1.0, size=(50, 3))
    weights = np.array(mixture_weights(explained))
    shares = explained * weights / (explained @ weights)[:, None]
    again = (shares.sum(axis=0) + DIRICHLET - 1) / (50 + 3 * (DIRICHLET - 1))
    assert weights == pytest.approx(again, abs=1e-6)
    assert weights.sum() == pytest.approx(1.0)


def test_a_view_that_knows_nothing_gets_nearly_no_weight() -> None:
    pool = fitted([view(4.0), view(0.0)], TRUTH)
    assert pool.weights[0] > 0.9


def test_views_that_differ_in_their_errors_are_better_together() -> None:
    first, second = view(2.0), view(2.0)
    parts = [row % 4 for row in range(300)]
    together = cross_fitted([first, second], TRUTH, parts)
    alone = cross_fitted([first], TRUTH, parts)
    assert (together.argmax(axis=1) == TRUTH).mean() > (alone.argmax(axis=1) == TRUTH).mean() + 0.03
    assert log_loss(np.log(together), TRUTH) < log_loss(np.log(alone), TRUTH)


def test_a_view_that_is_too_sure_is_made_as_sure_as_it_is_right() -> None:
    told = cross_fitted([view(2.0, sureness=4.0)], TRUTH, [row % 4 for row in range(300)])
    right = (told.argmax(axis=1) == TRUTH).mean()
    assert told.max(axis=1).mean() == pytest.approx(right, abs=0.05)


def test_a_rows_own_label_does_not_change_what_the_pool_says_of_it() -> None:
    views, parts = [view(2.0), view(1.0)], [row % 4 for row in range(300)]
    other = TRUTH.copy()
    other[8] = (other[8] + 1) % 3
    before, after = cross_fitted(views, TRUTH, parts), cross_fitted(views, other, parts)
    inside = np.array(parts) == parts[8]
    assert (before[inside] == after[inside]).all()
    assert (before[~inside] != after[~inside]).any()


def test_answers_that_a_row_cannot_have_get_nothing_and_ruled_out_ones_a_little() -> None:
    impossible = np.log([[0.7, 0.3, 1e-300]])
    impossible[0, 1] = -np.inf
    told = Pool((1.0,), (1.0,), 1.0).combined([impossible])
    assert told[0, 1] == 0.0
    assert told[0, 2] == pytest.approx(FLOOR, rel=0.5)


def test_answers_are_given_as_often_as_the_labels_have_them_each_with_one_label_more() -> None:
    first, second = view(1.0), view(1.0)
    rare = np.where(RNG.uniform(size=300) < 0.9, 0, TRUTH)  # nearly all rows are of one answer
    pool = fitted([first, second], rare)
    unshifted = replace(pool, shifts=()).combined([first, second])
    counts = np.bincount(rare, minlength=3) + 1
    expected = np.log(counts / counts.sum()) - np.log(unshifted.mean(axis=0))
    assert pool.shifts == pytest.approx(expected)
    shifted = pool.combined([first, second])
    odds = (shifted[:, 1] / shifted[:, 0]) / (unshifted[:, 1] / unshifted[:, 0])
    assert odds == pytest.approx(np.exp(expected[1] - expected[0]))


def test_letters_of_options_are_not_shifted() -> None:
    assert fitted([view(1.0)], TRUTH, recurring=False).shifts == ()
