"""Whether pseudo-labels have the answers in the shares that labels have."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import chi2_contingency

LEVEL = 0.01
"""Below this p-value the shares are called different."""
NAMED = 3


def departure(labels: Mapping[str, int], kept: Mapping[str, int]) -> str | None:
    """How the shares of kept answers leave those of the labels, largest first; `None` if chance explains it.

    Pearson's chi-square test of both counts; answers that neither has are left out.
    """
    answers = sorted(answer for answer in {*labels, *kept} if labels.get(answer, 0) + kept.get(answer, 0))
    counts = np.array([[of.get(answer, 0) for answer in answers] for of in (labels, kept)])
    if len(answers) < 2 or not counts.sum(axis=1).all() or chi2_contingency(counts).pvalue >= LEVEL:
        return None
    shares = counts / counts.sum(axis=1, keepdims=True)
    largest = np.argsort(-abs(shares[1] - shares[0]), kind="stable")[:NAMED]
    return ", ".join(f"{answers[at]} {shares[1, at]:.0%} (of the labels {shares[0, at]:.0%})" for at in largest)
