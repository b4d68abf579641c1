"""Attention over a tree of tokens: what sequences share at their beginnings is a branch that is computed once.

The tokens of a batch stand in one row, without padding: the root, then the stems, then the leaves (see `batches`). So
every matrix product is over tokens that are needed, each of them once. Only attention has to know which tokens precede
which. It is registered with transformers as an implementation of its own, `NAME`; gradients flow through it.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import AttentionInterface

from semievol.local.batches import Batch

NAME = "semievol_tree"

STEPWISE = 256 * 256
"""Pairs of a query and a key of one sequence and head up to which attention is computed step by step on a CPU. Torch's
fused attention is slower there, above all backwards; beyond, its thrift with memory counts for more."""


class Attention(Protocol):
    """Knows which tokens precede which."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """What N tokens with queries (N, H, D), keys and values (N, G, D) find, (N, H, D).

        There are H heads; H / G of them share a key and value.
        """


class Tree:
    """The tokens of a batch in one row, and which of them precede which.

    Args:
        keep: whether the keys and values of the leaves are wanted afterwards.
    """

    def __init__(self, batch: Batch[Any], device: torch.device, *, keep: bool = False) -> None:
        parts = [batch.root, *batch.stems, *batch.leaves]
        starts = [0, *accumulate(map(len, parts))]
        spans = [list(range(start, start + len(part))) for start, part in zip(starts, parts, strict=False)]
        root, stems, leaves = spans[0], spans[1 : 1 + len(batch.stems)], spans[1 + len(batch.stems) :]
        paths = [root + stems[stem] for stem in batch.stem_of_leaf]
        self._levels = [
            _Level(above, own, device)
            for above, own in (([[]], [root]), ([root] * len(stems), stems), (paths, leaves))
            if any(own)
        ]
        self.leaves = leaves
        """Where in the row the tokens of each leaf stand."""
        self.lengths = [len(path) + len(leaf) for path, leaf in zip(paths, leaves, strict=True)]
        """Tokens of each leaf's whole path."""
        self.ids = torch.tensor([[token for part in parts for token in part]], device=device)  # (1, N)
        self.positions = torch.cat([level.depths for level in self._levels])[None]  # (1, N)
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Keys and values of the leaves' whole paths, (L, K, G, D) each, by layer."""
        self._keep = keep

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """See `Attention`."""
        found = []
        for level in self._levels:
            keys, values = _rows(key, level.keys), _rows(value, level.keys)
            attended = attention(_rows(query, level.queries), keys, values, level.visible, scale)
            found.append(_rows(attended.flatten(0, 1), level.real))
        if self._keep:
            self.kept.append((keys, values))  # the leaves are the last level
        return torch.cat(found)


class _Level:
    """The root, all stems or all leaves: B sequences whose tokens see their ancestors and what precedes them.

    Args:
        above: where in the row each sequence's ancestors stand.
        own: where its own tokens stand.
    """

    def __init__(self, above: Sequence[list[int]], own: Sequence[list[int]], device: torch.device) -> None:
        pairs = [(a, o) for a, o in zip(above, own, strict=True) if o]
        most_queries, most_keys = max(len(o) for _, o in pairs), max(len(a) + len(o) for a, o in pairs)
        # What is padded points to the row's first token; as a query it sees what the last real one sees.
        queries = [o + [0] * (most_queries - len(o)) for _, o in pairs]
        keys = [a + o + [0] * (most_keys - len(a) - len(o)) for a, o in pairs]
        depths = [[*range(len(a), len(a) + len(o)), *[len(a) + len(o) - 1] * (most_queries - len(o))] for a, o in pairs]
        real = [row * most_queries + place for row, (_, o) in enumerate(pairs) for place in range(len(o))]
        depth = torch.tensor(depths, device=device)
        self.queries = torch.tensor(queries, device=device)
        """Where in the row each token stands, (B, Q)."""
        self.keys = torch.tensor(keys, device=device)
        """Where each token of the whole path from the root on stands, (B, K)."""
        self.visible = torch.arange(most_keys, device=device) <= depth[:, :, None]
        """Which keys a query sees, (B, Q, K)."""
        self.real = torch.tensor(real, device=device)
        """Which places of `queries`, flattened, are not padding."""
        self.depths = depth.flatten()[self.real]
        """How many tokens precede each token."""


class Past:
    """The keys and values of sequences that go on one token at a time.

    Args:
        tree: where they begin; it gives up what it has kept.
        leaf_of_row: the leaf that each sequence goes on from.
        room: how many tokens may follow.
    """

    def __init__(self, tree: Tree, leaf_of_row: Sequence[int], room: int) -> None:
        leaves = torch.tensor(leaf_of_row, device=tree.ids.device)
        self.lengths = torch.tensor([tree.lengths[leaf] for leaf in leaf_of_row], device=leaves.device)  # (B,)
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        while tree.kept:
            keys, values = tree.kept.pop(0)
            self._layers.append((_with_room(keys, leaves, room), _with_room(values, leaves, room)))

    def select(self, rows: Sequence[int]) -> None:
        """Goes on with some of the sequences."""
        index = torch.tensor(rows, device=self.lengths.device)
        self.lengths = self.lengths[index]
        for number, (keys, values) in enumerate(self._layers):
            self._layers[number] = keys[index], values[index]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """See `Attention`; each token is the next of its sequence."""
        keys, values = self._layers[layer]
        every = torch.arange(len(query), device=query.device)
        keys[every, self.lengths], values[every, self.lengths] = key, value
        visible = torch.arange(keys.shape[1], device=query.device) <= self.lengths[:, None, None]  # (B, 1, K)
        return attention(query[:, None], keys, values, visible, scale)[:, 0]


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor, scale: float
) -> torch.Tensor:
    """softmax(scale · q kᵀ) v of queries (B, Q, H, D) over the keys and values (B, K, G, D) they see: (B, Q, H, D)."""
    (batch, queries, heads, width), (keys, groups) = query.shape, key.shape[1:3]

    if query.is_cpu and queries * keys <= STEPWISE:
        q = (query * scale).view(batch, queries, groups, -1, width).permute(0, 2, 3, 1, 4)
        q = q.reshape(batch * groups, -1, width)  # (B G, H/G Q, D)
        k = key.permute(0, 2, 3, 1).reshape(batch * groups, width, keys)
        v = value.transpose(1, 2).reshape(batch * groups, keys, width)
        bias = torch.zeros_like(visible, dtype=query.dtype).masked_fill_(~visible, -torch.inf)  # (B, Q, K)
        scores = torch.bmm(q, k).view(batch, groups, -1, queries, keys) + bias[:, None, None]
        found = torch.bmm(scores.softmax(dim=-1).to(v.dtype).view(batch * groups, -1, keys), v)
        return found.view(batch, heads, queries, width).transpose(1, 2)
    key, value = (each.transpose(1, 2).repeat_interleave(heads // groups, dim=1) for each in (key, value))
    found = scaled_dot_product_attention(query.transpose(1, 2), key, value, visible[:, None], scale=scale)
    return found.transpose(1, 2)


def _rows(vectors: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Vectors (N, G, D) by their places (...): (..., G, D). `embedding` has the fastest backward pass of a gather."""
    return embedding(index, vectors.flatten(1)).view(*index.shape, *vectors.shape[1:])


def _with_room(vectors: torch.Tensor, rows: torch.Tensor, room: int) -> torch.Tensor:
    """Vectors (L, K, G, D) of some rows, with room for more keys: (B, K + room, G, D)."""
    roomy = vectors.new_zeros(len(rows), vectors.shape[1] + room, *vectors.shape[2:])
    roomy[:, : vectors.shape[1]] = vectors[rows]
    return roomy


def _registered(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Attention | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: queries (1, H, N, D), keys and values (1, G, N, D), result (1, N, H, D)."""
    if tree is None or dropout or sliding_window is not None or softcap is not None:
        raise NotImplementedError("attention over a tree has no dropout, sliding window or soft cap")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))  # (N, heads, D)
    layer: int = module.layer_idx  # type: ignore[assignment]
    return tree.attend(layer, query, key, value, scale)[None], None


AttentionInterface.register(NAME, _registered)
