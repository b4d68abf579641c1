"""A view of a user's own: the words of a prompt vote for the answers that they stood with."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from semievol.config import RetrievalConfig
from semievol.records import Example
from semievol.trust import Array


class WordView:
    def __init__(self, config: RetrievalConfig, classes: Sequence[str]) -> None:
        self._classes = list(classes)

    def fit(self, examples: Sequence[Example], answers: Sequence[str]) -> None:
        self._votes: dict[str, Counter[str]] = defaultdict(Counter)
        for example, answer in zip(examples, answers, strict=True):
            for word in example.prompt.split():
                self._votes[word][answer] += 1

    def probabilities(self, examples: Sequence[Example]) -> Array:
        votes = np.full((len(examples), len(self._classes)), 0.3)
        for row, example in enumerate(examples):
            for word in example.prompt.split():
                for answer, count in self._votes.get(word, Counter()).items():
                    votes[row, self._classes.index(answer)] += count
        shares: Array = votes / votes.sum(axis=1, keepdims=True)
        return shares
