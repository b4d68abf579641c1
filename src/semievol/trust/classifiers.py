"""Views that know prompts by their sentence embeddings."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semievol.config import RetrievalConfig
from semievol.records import Example
from semievol.trust import Array

if TYPE_CHECKING:
    from semievol.retrieval.dense import Embedder

LEAST = 1e-4
"""The probability of an answer that none of the learned rows has."""
C = 10.0
"""The inverse strength of the regularization."""
NEIGHBOURS = 10
SMOOTHING = 0.05
"""Votes that every answer has."""


@functools.cache
def _embedder(source: str) -> "Embedder":
    from semievol.retrieval.dense import Embedder

    return Embedder(source)


@functools.lru_cache(maxsize=16)
def _embedded(source: str, prompts: tuple[str, ...]) -> Array:
    """Unit vectors (N, d); the views of a shard ask for the same ones."""
    return _embedder(source).embed(prompts).astype(np.float64)


def classifier(c: float) -> Any:
    """scikit-learn's logistic regression, regularized by the inverse of `c`."""
    from sklearn import linear_model

    return linear_model.LogisticRegression(C=c, max_iter=2000)


class _OverEmbeddings:
    """What both views have in common."""

    def __init__(self, config: RetrievalConfig, classes: Sequence[str]) -> None:
        self._source, self._classes = config.embedder, list(classes)

    def _vectors(self, examples: Sequence[Example]) -> Array:
        return _embedded(self._source, tuple(example.prompt for example in examples))

    def _columns(self, answers: Sequence[str]) -> list[int]:
        return [self._classes.index(answer) for answer in answers]


class LogisticRegression(_OverEmbeddings):
    """Logistic regression over sentence embeddings, C = 10."""

    def fit(self, examples: Sequence[Example], answers: Sequence[str]) -> None:
        """See `View`; if there is one answer only, it is always that."""
        self._known = sorted(set(self._columns(answers)))
        self._model: Any = None
        if len(self._known) > 1:
            self._model = classifier(C).fit(self._vectors(examples), self._columns(answers))

    def probabilities(self, examples: Sequence[Example]) -> Array:
        """See `View`."""
        shares = np.full((len(examples), len(self._classes)), LEAST)
        predicted = np.ones((len(examples), 1))
        if self._model is not None and len(examples):
            predicted = self._model.predict_proba(self._vectors(examples))
        shares[:, self._known] = np.maximum(predicted, LEAST)
        normalised: Array = shares / shares.sum(axis=1, keepdims=True)
        return normalised


class NearestNeighbours(_OverEmbeddings):
    """The answers of the ten nearest labeled prompts, smoothed by the shares of the answers among all."""

    def fit(self, examples: Sequence[Example], answers: Sequence[str]) -> None:
        """See `View`."""
        columns = self._columns(answers)
        self._learned = self._vectors(examples)
        self._answers = np.eye(len(self._classes))[columns]  # (N, K)

    def probabilities(self, examples: Sequence[Example]) -> Array:
        """See `View`."""
        if not len(examples):
            return np.zeros((0, len(self._classes)))
        near = np.argsort(-(self._vectors(examples) @ self._learned.T), axis=1, kind="stable")[:, :NEIGHBOURS]
        votes: Array = self._answers[near].sum(axis=1) + self._answers.mean(axis=0) + SMOOTHING
        votes /= votes.sum(axis=1, keepdims=True)
        return votes
