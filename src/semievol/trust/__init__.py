"""How sure to be of a pseudo-label: independent views of a row, one calibrated distribution, rules with a promise."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from semievol.config import RetrievalConfig
from semievol.plugins import Implementations, implementation
from semievol.records import Example

Array = npt.NDArray[np.float64]

VIEWS: Implementations = {
    "logistic_regression": ("semievol.trust.classifiers:LogisticRegression", "local"),
    "nearest_neighbours": ("semievol.trust.classifiers:NearestNeighbours", "local"),
}


class View(Protocol):
    """A way to tell answers from prompts that shares no errors with the language model. It can be pickled."""

    def __init__(self, config: RetrievalConfig, classes: Sequence[str]) -> None:
        """Holds on to the options, the embedder among them, and the K answers that there are; loads nothing."""

    def fit(self, examples: Sequence[Example], answers: Sequence[str]) -> None:
        """Learns from examples and their answers, each of which is one of the classes."""

    def probabilities(self, examples: Sequence[Example]) -> Array:
        """How likely each class is for each example, (N, K); rows sum to 1, and nothing is 0."""


def open_view(kind: str, config: RetrievalConfig, classes: Sequence[str]) -> View:
    """The view that a name in `justify.views` stands for."""
    view: View = implementation("justify.views", kind, VIEWS)(config, classes)
    return view
