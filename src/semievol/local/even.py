"""Passes over rows of one length at a time, without padding: slower, and right for any model that reads left to right.

Recurrent layers carry what they read in a state, padding included, and some models choose how they see positions by the
longest row of a batch. Rows of one length need no padding, and have no longer neighbour.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from semievol.local.batches import Batch, Tokens
from semievol.local.passes import Work


@dataclass(frozen=True)
class Interface:
    """What a model's forward pass takes and gives beside tokens and logits."""

    keeps: bool
    """Whether it can be asked for the logits of the last positions alone."""
    cache: str | None
    """Under which name it takes and returns what it has read; `None` if it reads everything anew for each token."""

    @classmethod
    def of(cls, model: Any) -> "Interface":
        """That of a model of transformers, before anything is wrapped around it."""
        parameters = inspect.signature(type(model).forward).parameters
        caches = (name for name in ("past_key_values", "cache_params") if name in parameters)
        return cls("logits_to_keep" in parameters, next(caches, None))


@dataclass
class _Group:
    """Rows of one length, in the order in which the model holds them."""

    rows: list[int]
    """Their numbers among all rows."""
    sequences: list[list[int]]
    cache: Any

    def select(self, index: Sequence[int]) -> None:
        """Goes on with some of the rows."""
        if self.cache is not None and list(index) != list(range(len(self.rows))):
            self.cache.reorder_cache(torch.tensor(index))
        self.sequences = [[*self.sequences[i]] for i in index]


class EvenPasses:
    """Rows of one length together; nothing is shared or padded.

    Args:
        boundary: a length beyond which the model sees positions otherwise; what was read up to there is read anew.
    """

    def __init__(self, model: Any, work: Work, interface: Interface, boundary: int | None = None) -> None:
        self._model = model
        self._work = work
        self._interface = interface
        self._boundary = boundary
        self._groups: list[_Group] = []

    def prefill(self, batch: Batch[Any], counts: Sequence[int], room: int = 0) -> torch.Tensor:
        """See `Passes`."""
        paths = whole(batch)
        by_leaf: dict[int, torch.Tensor] = {}
        self._groups = []
        for length in sorted({len(path) for path in paths}, reverse=True):
            leaves = [leaf for leaf, path in enumerate(paths) if len(path) == length]
            sequences = [list(paths[leaf]) for leaf in leaves]
            logits, cache = self._forward(sequences, max(counts[leaf] for leaf in leaves), None, kept=room > 0)
            by_leaf |= {leaf: leaf_logits[-counts[leaf] :] for leaf, leaf_logits in zip(leaves, logits, strict=True)}
            if room:
                rows = [row for row, leaf in enumerate(batch.leaf_of_row) if leaf in leaves]
                group = _Group(rows, sequences, cache)
                group.select([leaves.index(batch.leaf_of_row[row]) for row in rows])
                self._groups.append(group)
        return torch.cat([by_leaf[leaf] for leaf in range(len(paths))])

    def select(self, rows: Sequence[int]) -> None:
        """See `Passes`."""
        place = {row: number for number, row in enumerate(rows)}
        for group in self._groups:
            positions = [index for index, row in enumerate(group.rows) if row in place]
            if positions:
                group.select(positions)
            group.rows = [place[group.rows[index]] for index in positions]
        self._groups = [group for group in self._groups if group.rows]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Passes`."""
        by_row: dict[int, torch.Tensor] = {}
        for group in self._groups:
            for row, sequence in zip(group.rows, group.sequences, strict=True):
                sequence.append(tokens[row])
            if self._boundary is not None and len(group.sequences[0]) == self._boundary + 1:
                group.cache = None
            logits, group.cache = self._forward(group.sequences, 1, group.cache, kept=True)
            by_row |= dict(zip(group.rows, logits[:, -1], strict=True))
        return torch.stack([by_row[row] for row in range(len(tokens))])

    def _forward(
        self, sequences: Sequence[Sequence[int]], keep: int, cache: Any, kept: bool
    ) -> tuple[torch.Tensor, Any]:
        """Logits of at least the last `keep` tokens of sequences (B, T), of which a cache holds all but the last."""
        ids = torch.tensor([row if cache is None else row[-1:] for row in sequences], device=self._model.device)
        name = self._interface.cache
        arguments: dict[str, Any] = {"use_cache": kept and name is not None}
        if self._interface.keeps:
            arguments["logits_to_keep"] = keep
        if name is not None and cache is not None:
            arguments[name] = cache
        output = self._model(input_ids=ids, **arguments)
        self._work.count(ids.numel())
        return output.logits, getattr(output, name) if kept and name is not None else None


def whole(batch: Batch[Any]) -> list[Tokens]:
    """The tokens of each leaf, with those of the root and its stem before them."""
    return [batch.root + batch.stems[stem] + leaf for stem, leaf in zip(batch.stem_of_leaf, batch.leaves, strict=True)]
