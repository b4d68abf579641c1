"""Which rows of a source a split takes."""

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from semievol.data.table import Row
from semievol.errors import DataError


@dataclass(frozen=True, slots=True)
class Ranks:
    """The places in a source's shuffle that belong to a split."""

    skip: int = 0
    """So many rows at the front belong to other splits of the same source."""
    take: int | None = None
    """So many rows come next; `None` is all that are left."""

    def draw(self, rows: Iterable[Row], seed: int, name: str) -> Iterable[Row]:
        """The rows of these ranks, in the order of the source.

        The shuffle orders rows by a hash of the seed and the row number. So one pass over a source of unknown
        length is enough, no more rows are held than are skipped and taken, and a larger draw contains a smaller.

        Args:
            name: the source, for the error message.

        Raises:
            DataError: fewer rows are there than are to be taken.
        """
        if self.take is None and self.skip == 0:
            return rows
        if self.take is None:
            front = sorted(rows, key=lambda row: _rank(seed, row))
        else:
            front = heapq.nsmallest(self.skip + self.take, rows, key=lambda row: _rank(seed, row))
        drawn = front[self.skip :]
        if len(drawn) < (self.take or 0):
            beside = f" beside the {self.skip} of other splits" if self.skip else ""
            raise DataError(f"{name}: {self.take} rows are asked for{beside}, and there are {len(front)}")
        return sorted(drawn, key=lambda row: row.index)


def _rank(seed: int, row: Row) -> bytes:
    return hashlib.blake2b(f"{seed}:{row.index}".encode(), digest_size=8).digest()
