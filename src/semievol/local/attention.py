"""Attention of tokens to those before them, which leaves out what nobody sees.

On a CPU it goes step by step through blocks of queries, each over the keys up to its last query's place: for a long
sequence half of the square, where torch's fused attention with a mask computes all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

BLOCK = 256
"""Queries in a block on a CPU. More compute more for nothing, fewer make smaller products; from 128 to 384 it makes no
difference."""

KEPT = 256 * 256
"""Pairs of a query and a key of one sequence and head up to which a block keeps its weights for the backward pass.
Beyond, they are computed anew: kept, they would be most of what training holds in memory."""


@dataclass(frozen=True)
class Block:
    """Queries `start` to `end` of B sequences; all of them see the first `seen` keys, none those from `keys` on."""

    start: int
    end: int
    seen: int
    keys: int
    bias: torch.Tensor
    """0 if a query sees one of the keys between, else -inf, (B, end - start, keys - seen)."""

    @property
    def pairs(self) -> int:
        """Pairs of a query and a key that are computed for each sequence and head."""
        return (self.end - self.start) * self.keys


def blocks(depths: Sequence[Sequence[int]], device: torch.device, dtype: torch.dtype) -> list[Block]:
    """The blocks of queries that attention computes one after another; a single one unless on a CPU.

    Args:
        depths: how many keys precede each query's own, (B, Q), ascending in each sequence.
        dtype: that of queries and keys.
    """
    queries = len(depths[0])
    size = BLOCK if device.type == "cpu" else queries
    depth = torch.tensor(depths, device=device)
    blocks = []
    for start in range(0, queries, size):
        end = min(start + size, queries)
        # The first block is small, and best added whole.
        first_key = min(depth[start] for depth in depths) if start else 0
        keys = max(depth[end - 1] for depth in depths) + 1
        visible = torch.arange(first_key, keys, device=device) <= depth[:, start:end, None]
        blocks.append(Block(start, end, first_key, keys, bias(visible, dtype)))
    return blocks


def bias(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores so that only `visible` keys are seen."""
    return torch.zeros_like(visible, dtype=dtype).masked_fill_(~visible, -torch.inf)


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, parts: Sequence[Block], scale: float
) -> torch.Tensor:
    """softmax(scale · q kᵀ + bias) v of queries (B, Q, H, D) over keys and values (B, K, G, D): (B, Q, H, D).

    H / G heads share a key and value.
    """
    return (stepwise if query.is_cpu else fused)(query, key, value, parts, scale)


def stepwise(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, parts: Sequence[Block], scale: float
) -> torch.Tensor:
    """See `attention`: products and softmax one after another, block by block."""
    (batch, queries, heads, width), groups = query.shape, key.shape[2]
    q = (query * scale).view(batch, queries, groups, -1, width).permute(0, 2, 3, 1, 4).flatten(0, 1)
    k = key.permute(0, 2, 3, 1).flatten(0, 1)  # (B G, D, K)
    v = value.transpose(1, 2).flatten(0, 1)  # (B G, K, D)
    of_blocks = [_block(q, k, v, part) for part in parts]  # (B G, H / G, end - start, D) each
    result = torch.cat(of_blocks, dim=2) if len(parts) > 1 else of_blocks[0]
    return result.view(batch, heads, queries, -1).transpose(1, 2)


def fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, parts: Sequence[Block], scale: float
) -> torch.Tensor:
    """See `attention`: torch's own, which takes a single block."""
    (part,) = parts
    (batch, queries, heads, width), groups = query.shape, key.shape[2]
    sharing = heads // groups
    if queries == 1:  # those that share a key are its queries, and nothing is copied
        q = query.view(batch, groups, sharing, width)
        mask = part.bias[:, None].expand(-1, 1, sharing, -1)
        result = scaled_dot_product_attention(q, key.transpose(1, 2), value.transpose(1, 2), mask, scale=scale)
        return result.view(batch, 1, heads, -1)
    key, value = (tensor.transpose(1, 2).repeat_interleave(sharing, dim=1) for tensor in (key, value))
    result = scaled_dot_product_attention(query.transpose(1, 2), key, value, part.bias[:, None], scale=scale)
    return result.transpose(1, 2)


def _block(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, part: Block) -> torch.Tensor:
    """What a block of the queries (N, R, Q, D) finds over keys (N, D, K) with values (N, K, D): (N, R, end - start, D).

    N is B G, and R is H / G heads that share a key and value.
    """
    if part.pairs > KEPT and torch.is_grad_enabled():
        result: torch.Tensor = checkpoint(_found, q, k, v, part, use_reentrant=False, preserve_rng_state=False)
    else:
        result = _found(q, k, v, part)
    return result.view(*q.shape[:2], -1, v.shape[2])


def _found(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, part: Block) -> torch.Tensor:
    block_query = q[:, :, part.start : part.end].flatten(1, 2)  # (N, R (end - start), D)
    scores = torch.bmm(block_query, k[:, :, : part.keys])
    by_sequence = scores.view(len(part.bias), -1, part.end - part.start, part.keys)  # (B, H, end - start, keys)
    by_sequence[..., part.seen :].add_(part.bias[:, None])
    return torch.bmm(scores.softmax(dim=-1).to(v.dtype), v[:, : part.keys])
