"""Attention over a tree of tokens: what sequences share at their beginnings is a branch that is computed once.

The tokens of a batch stand in one row, without padding: the root, then the stems, then the leaves (see `batches`). So
every matrix product is over tokens that are needed, each of them once. Only attention has to know which tokens precede
which. It is registered with transformers as an implementation of its own, `NAME`; gradients flow through it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn.functional import embedding
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from semievol.local.attention import Block, attention, bias, blocks
from semievol.local.batches import Batch, Tokens
from semievol.local.packed import Packing, packs

NAME = "semievol_tree"

MOST_PADDED = 20_000
"""Pairs of a query and a key that attention may compute for nothing on a CPU before it is cheaper to compute another
group of sequences."""
MOST_PADDED_ELSEWHERE = 4_000_000
"""That of an accelerator whose kernels for packed sequences cannot be had."""


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
        self._row: list[int] = []
        self._device = device
        self._groups: list[list[tuple[list[int], list[int]]]] = []
        """Sequences of similar size: where in the row each one's ancestors stand, and its own tokens."""
        self._levels: list[_Level] = []
        self._packing: Packing | None = None
        (root,) = self._lay([batch.root], [[]])
        stems = self._lay(batch.stems, [root] * len(batch.stems))
        above = [root + stems[stem] for stem in batch.stem_of_leaf]
        self.leaves = self._lay(batch.leaves, above)
        """Where in the row the tokens of each leaf stand."""
        self.paths = [path + leaf for path, leaf in zip(above, self.leaves, strict=True)]
        """Where those of each leaf's whole path stand."""
        self.ids = torch.tensor([self._row], device=device)  # (1, N)
        depths = [
            len(above) + place
            for group in self._groups
            for above, new_places in group
            for place in range(len(new_places))
        ]
        self.positions = torch.tensor([depths], device=device)  # (1, N)
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Keys and values of the row, (N, G, D) each, by layer."""
        self._keep = keep

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """See `Attention`."""
        if self._keep:
            self.kept.append((key, value))
        if packs(query):
            if self._packing is None:
                self._packing = Packing([sequence for group in self._groups for sequence in group], self._device)
            return self._packing.attend(query, key, value, scale)
        self._levels = self._levels or [_Level(group, self._device) for group in self._groups]
        blocks = []
        for level in self._levels:
            keys, values = _rows(key, level.keys), _rows(value, level.keys)
            attended = attention(_rows(query, level.queries), keys, values, level.blocks(query.dtype), scale)
            blocks.append(_rows(attended.flatten(0, 1), level.real))
        return torch.cat(blocks)

    def _lay(self, parts: Sequence[Tokens], above: Sequence[list[int]]) -> list[list[int]]:
        """Appends parts to the row, those of similar size one after another; where each one's tokens stand.

        Args:
            above: where each part's ancestors stand.
        """
        places: list[list[int]] = [[] for _ in parts]
        sizes = [(len(part), len(path) + len(part)) for part, path in zip(parts, above, strict=True)]
        for group in similar(sizes, MOST_PADDED if self._device.type == "cpu" else MOST_PADDED_ELSEWHERE):
            for number in group:
                start = len(self._row)
                self._row += parts[number]
                places[number] = list(range(start, len(self._row)))
            self._groups.append([(above[number], places[number]) for number in group])
        return places


def similar(sizes: Sequence[tuple[int, int]], most_padded: int) -> list[list[int]]:
    """The numbers of the sequences that are not empty, in groups that attention pads to their largest, largest first.

    Args:
        sizes: queries and keys of each sequence.
        most_padded: pairs of a query and a key that a group may hold for nothing.
    """
    groups: list[list[int]] = []
    queries = keys = real = 0
    for number in sorted(range(len(sizes)), key=lambda number: sizes[number], reverse=True):
        own_queries, own_keys = sizes[number]
        if not own_queries:
            break
        real += own_queries * own_keys
        padded = (len(groups[-1]) + 1) * queries * max(keys, own_keys) - real if groups else 0
        if not groups or padded > most_padded:
            groups.append([])
            queries, keys, real = own_queries, 0, own_queries * own_keys
        groups[-1].append(number)
        keys = max(keys, own_keys)
    return groups


class _Level:
    """B sequences of similar size on one level, whose tokens see their ancestors and what precedes them.

    Args:
        sequences: where in the row each one's ancestors stand, and its own tokens.
    """

    def __init__(self, sequences: Sequence[tuple[list[int], list[int]]], device: torch.device) -> None:
        most_queries, most_keys = max(len(o) for _, o in sequences), max(len(a) + len(o) for a, o in sequences)
        # What is padded points to the row's first token; as a query it sees what the last real one sees.
        queries = [o + [0] * (most_queries - len(o)) for _, o in sequences]
        keys = [a + o + [0] * (most_keys - len(a) - len(o)) for a, o in sequences]
        depths = [
            [*range(len(a), len(a) + len(o)), *[len(a) + len(o) - 1] * (most_queries - len(o))] for a, o in sequences
        ]
        real = [row * most_queries + place for row, (_, o) in enumerate(sequences) for place in range(len(o))]
        self.queries = torch.tensor(queries, device=device)
        """Where in the row each token stands, (B, Q)."""
        self.keys = torch.tensor(keys, device=device)
        """Where each token of the whole path from the root on stands, (B, K)."""
        self.real = torch.tensor(real, device=device)
        """Which places of `queries`, flattened, are not padding."""
        self._depths = depths
        self._blocks: list[Block] = []

    def blocks(self, dtype: torch.dtype) -> list[Block]:
        """Which queries see which keys; the same for all layers."""
        if not self._blocks or self._blocks[0].bias.dtype != dtype:
            self._blocks = blocks(self._depths, self.queries.device, dtype)
        return self._blocks


class Past:
    """The keys and values of sequences that go on one token at a time.

    Args:
        tree: where they begin; it gives up what it has kept.
        leaf_of_row: the leaf that each sequence goes on from.
        room: how many tokens may follow.
    """

    def __init__(self, tree: Tree, leaf_of_row: Sequence[int], room: int) -> None:
        paths = [tree.paths[leaf] for leaf in leaf_of_row]
        self.lengths = torch.tensor([len(path) for path in paths], device=tree.ids.device)  # (B,)
        places = torch.tensor(
            [path + [0] * (max(map(len, paths)) - len(path)) for path in paths], device=tree.ids.device
        )
        self._whole: Block | None = None
        """Which keys the next tokens see; the same for all layers."""
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        while tree.kept:
            key, value = tree.kept.pop(0)
            self._layers.append((_with_room(key, places, room), _with_room(value, places, room)))

    def select(self, positions: Sequence[int]) -> None:
        """Goes on with some of the sequences."""
        index = torch.tensor(positions, device=self.lengths.device)
        self.lengths, self._whole = self.lengths[index], None
        for number, (keys, values) in enumerate(self._layers):
            self._layers[number] = keys[index], values[index]

    def advance(self) -> None:
        """Takes what was attended to last as part of the sequences."""
        self.lengths, self._whole = self.lengths + 1, None

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """See `Attention`; each token is the next of its sequence."""
        keys, values = self._layers[layer]
        every = torch.arange(len(query), device=query.device)
        keys[every, self.lengths], values[every, self.lengths] = key, value
        if self._whole is None or self._whole.bias.dtype != query.dtype:
            visible = torch.arange(keys.shape[1], device=query.device) <= self.lengths[:, None, None]  # (B, 1, K)
            self._whole = Block(0, 1, 0, keys.shape[1], bias(visible, query.dtype))
        return attention(query[:, None], keys, values, [self._whole], scale)[:, 0]


def _rows(vectors: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Vectors (N, G, D) by their places (...): (..., G, D). `embedding` has the fastest backward pass of a gather."""
    return embedding(index, vectors.flatten(1)).view(*index.shape, *vectors.shape[1:])


def _with_room(vectors: torch.Tensor, places: torch.Tensor, room: int) -> torch.Tensor:
    """Vectors (N, G, D) by their places (B, K), with room for more: (B, K + room, G, D)."""
    (sequences, length), shape = places.shape, vectors.shape[1:]
    roomy = vectors.new_zeros(sequences, length + room, *shape)
    roomy[:, :length] = _rows(vectors, places)
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
    s_aux: torch.Tensor | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: queries (1, H, N, D), keys and values (1, G, N, D), result (1, N, H, D)."""
    if dropout or sliding_window is not None or softcap is not None or s_aux is not None:
        raise NotImplementedError("attention over a tree has no dropout, sliding window, soft cap or sinks")
    if tree is None:
        if attention_mask is not None or query.shape[2] not in (1, key.shape[2]):
            raise NotImplementedError("attention over a tree takes other sequences in one piece or token by token")
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, None, scaling=scaling)
        return result
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (N, heads, D)
    layer: int = module.layer_idx  # type: ignore[assignment]
    return tree.attend(layer, query, key, value, scale)[None], None


AttentionInterface.register(NAME, _registered)
