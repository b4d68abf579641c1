"""Whether models know anything at all of a task."""

from scipy.stats import binom

LEVEL = 0.05


def above_chance(right: int, rows: int, chance: float) -> bool:
    """Whether so many right answers would be seen in at most 5 % of the cases if each were right by `chance`, 0 to 1.

    A one-sided exact binomial test. If one answer is nearly always true, it asks for more than a few labels can show.
    """
    return bool(binom.sf(right - 1, rows, chance) <= LEVEL)
