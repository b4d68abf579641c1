"""Finds the labeled examples nearest to a prompt (Eq. 2)."""

from collections.abc import Sequence
from typing import Protocol

from semievol.config import RetrievalConfig
from semievol.plugins import Implementations, implementation
from semievol.records import Example

RETRIEVERS: Implementations = {
    "dense": ("semievol.retrieval.dense:DenseRetriever", "local"),
    "bm25": ("semievol.retrieval.bm25:BM25Retriever", None),
}


class Retriever(Protocol):
    """An index over the labeled examples."""

    def __init__(self, config: RetrievalConfig) -> None:
        """Holds on to the options; loads nothing."""

    def fit(self, labeled: Sequence[Example]) -> None:
        """Indexes the prompts of `labeled`."""

    def nearest(self, prompts: Sequence[str], k: int) -> list[list[int]]:
        """For each prompt, the positions in `labeled` of its k nearest examples, nearest first.

        Fewer than k if there are fewer labeled examples; ties go to the earlier example.
        """


def open_retriever(config: RetrievalConfig) -> Retriever:
    """The retriever that `retrieval.kind` names."""
    retriever: Retriever = implementation("retrieval.kind", config.kind, RETRIEVERS)(config)
    return retriever
