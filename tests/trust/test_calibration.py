"""Temperatures against hand-worked values and a search over all of them."""

import math

import numpy as np
import pytest

from semievol.trust.calibration import PRIOR, log_loss, temperature, tempered


def test_the_log_loss_of_two_rows_by_hand() -> None:
    log_p = np.log([[0.5, 0.5], [0.2, 0.8]])
    assert log_loss(log_p, np.array([0, 1])) == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_a_temperature_of_two_takes_the_square_root_of_the_odds() -> None:
    told = np.exp(tempered(np.log([[0.9, 0.1]]), by=2.0))
    assert told[0, 0] / told[0, 1] == pytest.approx(3.0)


def test_an_answer_that_a_row_cannot_have_stays_impossible() -> None:
    told = np.exp(tempered(np.array([[math.log(0.9), math.log(0.1), -np.inf]]), by=3.0))
    assert told[0, 2] == 0.0
    assert told.sum() == pytest.approx(1.0)


def test_a_model_that_is_too_sure_gets_the_temperature_that_a_search_finds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    log_p = tempered(rng.normal(size=(200, 3)) * 4 + 3 * np.eye(3)[truth])
    found = temperature(log_p, truth)
    grid = np.exp(np.linspace(-2, 3, 5001))
    losses = [log_loss(tempered(log_p, t), truth) + PRIOR * math.log(t) ** 2 for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    assert found > 1.5


def test_rows_that_are_all_right_do_not_make_the_temperature_vanish() -> None:
    assert temperature(np.log([[0.9, 0.1]] * 20), np.zeros(20, dtype=int)) > math.exp(-2)
