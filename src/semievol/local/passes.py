"""Forward passes over batches of prompts, with their counts.

A model whose attention can be replaced computes a batch as a tree; any other one computes padded rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from semievol.local.batches import Batch
from semievol.local.tree import Past, Tree


@dataclass
class Work:
    """What was computed, in tokens."""

    requested: int = 0
    """Tokens of all prompts, and of the answers that were scored, each counted as if it were alone."""
    computed: int = 0
    """Tokens that went through the model; padding and generated ones are among them."""
    padding: int = 0
    passes: int = 0
    """Forward passes, those of generated tokens included."""

    def count(self, tokens: int, padding: int = 0) -> None:
        """Adds a forward pass."""
        self.passes += 1
        self.computed += tokens
        self.padding += padding


class Passes(Protocol):
    """Computes a batch, and goes on with its rows."""

    def prefill(self, batch: Batch[Any], counts: Sequence[int], room: int = 0) -> torch.Tensor:
        """Logits of the last `counts` tokens of each leaf, one after another, (sum of wanted, V).

        Args:
            room: how many tokens may be asked of `step` afterwards.
        """

    def select(self, rows: Sequence[int]) -> None:
        """Goes on with some of the rows."""

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits after one more token of each row, (B, V)."""


def answer_logits(passes: Passes, batch: Batch[Any]) -> list[torch.Tensor]:
    """For each row, the logits of the positions before its response's tokens, which predict them: (L, V)."""
    counts = [0] * len(batch.leaves)
    for row, leaf in zip(batch.rows, batch.leaf_of_row, strict=True):
        counts[leaf] = len(row.response) + 1
    by_leaf = torch.split(passes.prefill(batch, counts), counts)
    return [by_leaf[leaf][:-1].float() for leaf in batch.leaf_of_row]


class TreePasses:
    """Each token once, and no padding."""

    def __init__(self, model: Any, work: Work) -> None:
        self._model = model
        self._work = work
        self._past: Past | None = None

    def prefill(self, batch: Batch[Any], counts: Sequence[int], room: int = 0) -> torch.Tensor:
        """See `Passes`."""
        tree = Tree(batch, self._model.device, keep=room > 0)
        places = [place for leaf, count in zip(tree.leaves, counts, strict=True) for place in leaf[-count:]]
        logits = self._forward(tree.ids, tree.positions, tree, torch.tensor(places, device=tree.ids.device))
        self._work.count(batch.computed)
        self._past = Past(tree, batch.leaf_of_row, room) if room else None
        return logits

    def select(self, rows: Sequence[int]) -> None:
        """See `Passes`."""
        assert self._past is not None
        self._past.select(rows)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Passes`."""
        assert self._past is not None
        ids = torch.tensor([list(tokens)], device=self._model.device)
        logits = self._forward(ids, self._past.lengths[None], self._past, 0)
        self._past.advance()
        self._work.count(len(tokens))
        return logits

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, tree: Tree | Past, keep: torch.Tensor | int
    ) -> torch.Tensor:
        output = self._model(input_ids=ids, position_ids=positions, tree=tree, use_cache=False, logits_to_keep=keep)
        logits: torch.Tensor = output.logits[0]
        return logits


class PaddedPasses:
    """Rows that are padded on the left, so that all of them end in the last column; nothing is shared."""

    def __init__(self, model: Any, work: Work, pad: int) -> None:
        self._model = model
        self._work = work
        self._pad = pad
        self._cache: Any = None
        self._mask = torch.ones(0, 0)

    def prefill(self, batch: Batch[Any], counts: Sequence[int], room: int = 0) -> torch.Tensor:
        """See `Passes`."""
        if any(batch.stems) or batch.root:
            raise ValueError("padded rows share no beginnings")
        longest = max(map(len, batch.leaves))
        ids = torch.tensor([[self._pad] * (longest - len(leaf)) + list(leaf) for leaf in batch.leaves])
        mask = torch.tensor([[0] * (longest - len(leaf)) + [1] * len(leaf) for leaf in batch.leaves])
        self._mask = mask.to(self._model.device)
        self._cache = None
        logits = self._forward(ids, max(counts), cached=room > 0)
        self._work.count(ids.numel(), ids.numel() - int(mask.sum()))
        if room:
            self.select(batch.leaf_of_row)
        return torch.cat([row[-count:] for row, count in zip(logits, counts, strict=True)])

    def select(self, rows: Sequence[int]) -> None:
        """See `Passes`."""
        index = torch.tensor(rows, device=self._mask.device)
        self._cache.reorder_cache(index)  # other ways to select rows are missing for recurrent layers
        self._mask = self._mask[index]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Passes`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        self._work.count(len(tokens))
        return self._forward(torch.tensor(tokens)[:, None], 1, cached=True)[:, -1]

    def _forward(self, ids: torch.Tensor, keep: int, cached: bool) -> torch.Tensor:
        output = self._model(
            input_ids=ids.to(self._mask.device),
            attention_mask=self._mask,
            position_ids=(self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            past_key_values=self._cache,
            use_cache=cached,
            logits_to_keep=keep,
        )
        self._cache = output.past_key_values if cached else None
        logits: torch.Tensor = output.logits
        return logits
