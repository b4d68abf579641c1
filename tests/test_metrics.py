"""The arithmetic of results against values worked out by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

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


def by_enumeration(sums: list[int]) -> float:
    """Share of all exchanges of the two models' answers that differ as much as these."""
    totals = [
        abs(sum(s * sign for s, sign in zip(sums, signs, strict=True))) for signs in product((1, -1), repeat=len(sums))
    ]
    return sum(total >= abs(sum(sums)) for total in totals) / len(totals)


@pytest.mark.parametrize(("ahead", "behind"), [(5, 0), (4, 1), (3, 3), (0, 6), (7, 2)])
def test_mcnemars_exact_test_is_the_share_of_exchanges_that_differ_as_much(ahead: int, behind: int) -> None:
    assert metrics.mcnemar(ahead, behind) == pytest.approx(by_enumeration([1] * ahead + [-1] * behind))


@pytest.mark.parametrize("sums", [[3, 1, -1], [2, 2, 2, -1, 0], [3, -3, 1, 1, 2], [1, 1, 1, 0]])
def test_rows_that_several_seeds_answered_are_exchanged_together(sums: list[int]) -> None:
    assert metrics.exchange_test(sums) == pytest.approx(by_enumeration([s for s in sums if s]))


def test_models_that_never_differ_are_not_told_apart() -> None:
    assert metrics.exchange_test([0, 0]) == 1.0


def test_the_bootstrap_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    one, other = ((rng.random((1, 300)) < share).astype(float) for share in (0.8, 0.7))
    low, high = metrics.difference_interval(one, other)
    reference = stats.bootstrap((one[0] - other[0],), np.mean, n_resamples=20_000, method="percentile", rng=2)
    assert low == pytest.approx(reference.confidence_interval.low, abs=0.005)
    assert high == pytest.approx(reference.confidence_interval.high, abs=0.005)


def test_seeds_that_disagree_widen_the_interval() -> None:
    rows = np.zeros((2, 100))
    agreeing, disagreeing = rows.copy(), rows.copy()
    agreeing[:, :10] = 1
    disagreeing[0, :20] = 1
    narrow, wide = (np.ptp(metrics.difference_interval(each, rows)) for each in (agreeing, disagreeing))
    assert wide > 1.5 * narrow


def test_a_row_that_a_seed_does_not_have_counts_for_the_others_alone() -> None:
    one = np.array([[1.0] * 50 + [np.nan] * 50, [np.nan] * 50 + [1.0] * 50])
    assert metrics.difference_interval(one, np.where(np.isnan(one), np.nan, 0.0)) == (1.0, 1.0)


def test_holms_correction_of_four_p_values() -> None:
    # ordered 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_value_has_no_deviation() -> None:
    assert metrics.mean_and_deviation([0.5]) == (0.5, None)


def samples(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Truth and answers of some rows, in which a class may be rare, missing or never said."""
    classes = ["a", "b", "c", "d"][: rng.integers(2, 5)]
    size = int(rng.integers(3, 40))
    return [list(rng.choice(classes, size)) for _ in range(2)]


def test_figures_are_those_of_scikit_learn() -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for _ in range(200):
        truth, answers = samples(rng)
        right = [one == other for one, other in zip(truth, answers, strict=True)]
        assert metrics.accuracy(right)["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, answers))
        f1 = sklearn_metrics.f1_score(truth, answers, labels=sorted(set(truth)), average="macro", zero_division=0)
        assert metrics.macro_f1(truth, answers) == pytest.approx(f1)
        confidence = rng.integers(0, 6, len(right)) / 5  # with ties
        found = metrics.auroc(confidence, right)
        if len(set(right)) == 2:
            assert found == pytest.approx(sklearn_metrics.roc_auc_score(right, confidence))
        else:
            assert found is None


def test_intervals_and_tests_are_those_of_statsmodels_and_scipy() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    rng = np.random.default_rng(2)
    for _ in range(200):
        total = int(rng.integers(1, 2000))
        right = int(rng.integers(0, total + 1))
        expected = proportion.proportion_confint(right, total, method="wilson")
        assert metrics.interval(right, total) == pytest.approx(expected, abs=1e-12)
        ahead, behind = (int(each) for each in rng.integers(0, 60, 2))
        table = [[5, ahead], [behind, 7]]
        p = metrics.mcnemar(ahead, behind)
        assert p == pytest.approx(contingency.mcnemar(table, exact=True).pvalue)
        if ahead + behind:
            assert p == pytest.approx(stats.binomtest(ahead, ahead + behind).pvalue)
        values = list(rng.normal(size=int(rng.integers(2, 9))))
        assert metrics.mean_and_deviation(values) == pytest.approx((np.mean(values), stats.tstd(values)))


def test_holms_p_values_are_those_of_statsmodels() -> None:
    multiple = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(5)
    for size in range(1, 12):  # few: statsmodels collects garbage each time, all of the suite's
        p_values = list(rng.uniform(size=size) ** 3)
        assert metrics.holm(p_values) == pytest.approx(multiple.multipletests(p_values, method="holm")[1])


def test_the_bootstrap_of_a_paired_difference_is_scipys() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.random(400) < 0.8, rng.random(400) < 0.7
    gain = one.astype(float) - other
    expected = stats.bootstrap((gain,), np.mean, n_resamples=10_000, method="percentile", rng=4).confidence_interval
    found = metrics.difference_interval(one[None].astype(float), other[None].astype(float))
    assert found == pytest.approx((expected.low, expected.high), abs=0.004)
