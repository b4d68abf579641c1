"""Nearest by words: BM25."""

from collections.abc import Sequence

import bm25s
import numpy as np

from semievol.config import RetrievalConfig
from semievol.records import Example


class BM25Retriever:
    """BM25 over the words of the labeled prompts, English stop words aside."""

    def __init__(self, config: RetrievalConfig) -> None:
        self._index: bm25s.BM25 | None = None
        self._size = 0

    def fit(self, labeled: Sequence[Example]) -> None:
        """Indexes the prompts."""
        self._size = len(labeled)
        tokens = bm25s.tokenize([example.prompt for example in labeled], return_ids=False, show_progress=False)
        # Without a single word in all prompts there is nothing to index, and every score is 0.
        self._index = bm25s.BM25() if any(tokens) else None
        if self._index is not None:
            self._index.index(tokens, show_progress=False)

    def nearest(self, prompts: Sequence[str], k: int) -> list[list[int]]:
        """The positions of the k nearest examples of each prompt; those without a common word come last."""
        tokens = bm25s.tokenize(list(prompts), return_ids=False, show_progress=False)
        return [self._ranked(words)[:k] for words in tokens]

    def _ranked(self, words: list[str]) -> list[int]:
        if self._index is None or not words:
            return list(range(self._size))
        scores = self._index.get_scores(words)  # (labeled,)
        ranked: list[int] = np.argsort(-scores, kind="stable").tolist()
        return ranked
