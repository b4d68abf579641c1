"""Answers by row id, for millions of rows."""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np
import pyarrow as pa

from semievol.data.hashes import hashes, short_hash

_BATCH = 4096


class Answers(Mapping[str, str | None]):
    """Row id -> answer, in the order they came; some 40 bytes a row, and each different answer once."""

    def __init__(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        ids, stream, answer_numbers = [], iter(pairs), dict[str | None, int]()
        self._codes = array("q")
        while batch := list(islice(stream, _BATCH)):
            ids.append(pa.array([id_ for id_, _ in batch], pa.string()))
            self._codes.extend(answer_numbers.setdefault(answer, len(answer_numbers)) for _, answer in batch)
        self._answers: list[str | None] = list(answer_numbers)
        self._ids = pa.chunked_array(ids, pa.string())
        unordered = hashes(self)
        self._order = np.argsort(unordered)
        self._hashes = unordered[self._order]

    def __getitem__(self, id_: str) -> str | None:
        hash_ = np.uint64(short_hash(id_))
        at = int(self._hashes.searchsorted(hash_))
        if at == len(self) or self._hashes[at] != hash_:
            raise KeyError(id_)
        return self._answers[self._codes[int(self._order[at])]]

    def __iter__(self) -> Iterator[str]:
        for chunk in self._ids.chunks:
            yield from chunk.to_pylist()

    def __len__(self) -> int:
        return len(self._codes)


def truth_digest(truth: Mapping[str, str | None]) -> str:
    """SHA-256 of each row's id and answer in their order: stands for a truth column in a key."""
    total = hashlib.sha256()
    for id_, answer in truth.items():
        total.update(json.dumps([id_, answer]).encode() + b"\n")
    return total.hexdigest()
