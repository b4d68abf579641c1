"""Shares of answers that leave those of the labels are named, largest first."""

from scipy.stats import chi2_contingency

from semievol.trust.shares import departure

LABELS = {"sun": 60, "rain": 30, "snow": 10}


def test_the_same_shares_are_not_spoken_of() -> None:
    assert departure(LABELS, {"sun": 118, "rain": 64, "snow": 18}) is None


def test_a_selection_that_keeps_the_easy_answer_is_spoken_of() -> None:
    kept = {"sun": 186, "rain": 14, "snow": 0}
    assert chi2_contingency([[60, 30, 10], [186, 14, 0]]).pvalue < 0.01
    said = "sun 93% (of the labels 60%), rain 7% (of the labels 30%), snow 0% (of the labels 10%)"
    assert departure(LABELS, kept) == said


def test_an_answer_that_no_label_has_counts_too() -> None:
    said = departure(LABELS, {"sun": 30, "hail": 30})
    assert said is not None
    assert said.startswith("hail 50% (of the labels 0%)")


def test_nothing_kept_and_one_answer_alone_depart_from_nothing() -> None:
    assert departure(LABELS, {}) is None
    assert departure({"sun": 5}, {"sun": 50}) is None
