"""Whether models are above chance, against SciPy's own test."""

import pytest
from scipy.stats import binomtest

from semievol.trust.chance import above_chance


@pytest.mark.parametrize("right", [28, 34, 36, 37, 60, 100])
def test_it_is_the_one_sided_binomial_test(right: int) -> None:
    expected = binomtest(right, 100, 0.28, alternative="greater").pvalue <= 0.05
    assert above_chance(right, 100, 0.28) == expected


def test_chance_itself_does_not_pass() -> None:
    assert not above_chance(57, 100, 0.57)
