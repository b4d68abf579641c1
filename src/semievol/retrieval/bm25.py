"""Nearest by words: BM25."""

from collections.abc import Sequence

import bm25s
import numpy as np
import numpy.typing as npt

from semievol.config import RetrievalConfig
from semievol.records import Example

Scores = npt.NDArray[np.float32]


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
        return [_highest(self._scores(words), k) for words in tokens]

    def _scores(self, words: list[str]) -> Scores:
        """As `BM25.get_scores`, to the bit, in one call of numpy for all words instead of one for each; (labeled,)."""
        scores = np.zeros(self._size, np.float32)
        if self._index is None or not (token_ids := self._index.get_tokens_ids(words)):
            return scores
        ends, matrix = self._index.scores["indptr"], self._index.scores
        spans = [slice(ends[word], ends[word + 1]) for word in token_ids]
        rows = np.concatenate([matrix["indices"][span] for span in spans])
        np.add.at(scores, rows, np.concatenate([matrix["data"][span] for span in spans]))
        return scores


def _highest(scores: Scores, k: int) -> list[int]:
    """The positions of the k highest scores, the earlier of equals first."""
    nearest = []
    for _ in range(min(k, len(scores))):
        nearest.append(int(scores.argmax()))  # the first of equals
        scores[nearest[-1]] = -np.inf
    return nearest
