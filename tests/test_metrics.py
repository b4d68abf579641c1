"""The arithmetic of results against values worked out by hand."""

import pytest

from semievol import metrics


def test_the_wilson_interval_of_8_out_of_10() -> None:
    # (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = 0.8, n = 10, z = 1.959964
    low, high = metrics.interval(8, 10)
    assert (low, high) == (pytest.approx(0.490162, abs=1e-6), pytest.approx(0.943318, abs=1e-6))


def test_the_wilson_interval_stays_within_0_and_1() -> None:
    assert metrics.interval(0, 10)[0] == 0.0
    assert metrics.interval(0, 10)[1] == pytest.approx(0.277533, abs=1e-6)
    assert metrics.interval(10, 10)[1] == 1.0
    assert metrics.interval(0, 0) == (0.0, 1.0)


def test_accuracy_counts_the_right_answers() -> None:
    result = metrics.accuracy([True, True, False, True])
    assert (result["rows"], result["right"], result["accuracy"]) == (4, 3, 0.75)


def test_accuracy_over_no_rows_is_unknown() -> None:
    assert metrics.accuracy([])["accuracy"] is None


def test_macro_f1_weighs_a_rare_class_like_a_frequent_one() -> None:
    # a: 3 hits, 3 true, 4 said -> 6/7; b: no hit of 1 -> 0
    assert metrics.macro_f1(["a", "a", "a", "b"], ["a", "a", "a", "a"]) == pytest.approx((6 / 7 + 0) / 2)


def test_macro_f1_counts_a_missing_answer_as_wrong() -> None:
    # a: 1 hit, 2 true, 1 said -> 2/3; b: 1 hit, 1 true, 1 said -> 1
    assert metrics.macro_f1(["a", "a", "b"], ["a", None, "b"]) == pytest.approx((2 / 3 + 1) / 2)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    # right: 0.9, 0.4; wrong: 0.5, 0.4 -> pairs 1, 1, 0, ½
    assert metrics.auroc([0.9, 0.4, 0.5, 0.4], [True, True, False, False]) == pytest.approx(2.5 / 4)


def test_auroc_without_both_kinds_is_unknown() -> None:
    assert metrics.auroc([0.1, 0.2], [True, True]) is None
