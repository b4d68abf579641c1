"""Which rows of a source a split takes."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import compress

import numpy as np

from semievol.data.hashes import hashes
from semievol.data.table import Row
from semievol.errors import DataError


@dataclass(frozen=True, slots=True)
class Ranks:
    """The places in a source's shuffle that belong to a split."""

    skip: int = 0
    """So many rows at the front belong to other splits of the same source."""
    take: int | None = None
    """So many rows come next; `None` is all that are left."""

    def draw(
        self, rows: Callable[[Collection[str]], Iterator[Row]], needed: Collection[str], seed: int, name: str
    ) -> Iterator[Row]:
        """The rows of these ranks, in the order of the source.

        The shuffle orders rows by a hash of the seed and the row number, so that a larger draw contains a smaller.
        The source is read twice, first to count its rows: none is held, only 8 bytes of each.

        Args:
            rows: reads the source from the start, with the wanted columns.
            needed: the columns that the drawn rows need.
            name: the source, for the error message.

        Raises:
            DataError: fewer rows are there than are to be taken.
        """
        if self.take is None and self.skip == 0:
            return rows(needed)
        ranks = hashes(f"{seed}:{row.index}" for row in rows(()))
        end = len(ranks) if self.take is None else self.skip + self.take
        if end > len(ranks):
            beside = f" beside the {self.skip} of other splits" if self.skip else ""
            raise DataError(f"{name}: {self.take} rows are asked for{beside}, and there are {len(ranks)}")
        is_drawn = np.zeros(len(ranks), dtype=bool)
        is_drawn[np.argsort(ranks, kind="stable")[self.skip : end]] = True
        return compress(rows(needed), is_drawn)
