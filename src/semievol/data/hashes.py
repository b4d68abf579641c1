"""64 bits in the place of a text, so that millions of texts can be compared in memory.

Among a million rows, two different texts share a hash with a chance of 3e-8.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


def short_hash(text: str) -> int:
    """The same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def hashes(texts: Iterable[str]) -> Hashes:
    """The hash of each text, (N,)."""
    return np.fromiter(map(short_hash, texts), np.uint64)


def repeated(values: Hashes) -> Hashes:
    """Those that stood there before; by sorting, as `np.unique` takes six times the memory of `values`."""
    ordered = np.sort(values)
    again: Hashes = ordered[1:][ordered[1:] == ordered[:-1]]
    return again


def among(values: Hashes, known_values: Hashes) -> npt.NDArray[np.bool_]:
    """Which of `values` are among `known_values`, (N,)."""
    ordered = np.sort(known_values)
    at = ordered.searchsorted(values)
    at[at == len(ordered)] = 0
    return ordered[at] == values if len(ordered) else np.zeros(len(values), dtype=bool)
