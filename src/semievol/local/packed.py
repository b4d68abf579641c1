"""Attention of sequences that stand one after another, by torch's flash kernels: no padding and no matrix of masks.

An accelerator's counterpart of the blocks of `attention`: its kernels take sequences of any lengths at once, and pass
over what comes after a query. So memory grows with the tokens, and one long row costs what it costs alone.
"""

import importlib
import inspect
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

varlen_attn: Any = None
"""Torch's function; there is none before 2.10."""
with suppress(ImportError):
    varlen_attn = importlib.import_module("torch.nn.attention.varlen").varlen_attn

_TAKEN = frozenset(inspect.signature(varlen_attn).parameters) if varlen_attn is not None else frozenset()
_CAUSAL: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in _TAKEN else {"is_causal": True}
_GROUPED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in _TAKEN else {}

WIDEST = 256
"""The widest heads that the kernels take."""


def packs(query: torch.Tensor) -> bool:
    """Whether the kernels take queries (N, H, D) of this type on this device."""
    return (
        varlen_attn is not None
        and query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] <= WIDEST
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


class Packing:
    """Sequences whose tokens stand one after another in a row, and what each of them sees.

    Args:
        sequences: where in the row each one's ancestors stand, and its own tokens; in the order of the row.
    """

    def __init__(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], device: torch.device) -> None:
        queries = [len(new_places) for _, new_places in sequences]
        keys = [len(above) + len(new_places) for above, new_places in sequences]
        self.alone = len(sequences) == 1
        """Whether there is a single sequence."""
        self.longest = max(queries), max(keys)
        """Most queries, and most keys, of a sequence."""
        self.query_starts = torch.tensor([0, *accumulate(queries)], dtype=torch.int32, device=device)
        """Where each sequence's queries begin, and where the last one's end, (S + 1,)."""
        self.key_starts = torch.tensor([0, *accumulate(keys)], dtype=torch.int32, device=device)
        """The same of its keys."""
        places = None
        if any(above for above, _ in sequences):
            places = torch.tensor(
                [place for above, new_places in sequences for place in (*above, *new_places)], device=device
            )
        self.places = places
        """Where in the row the keys stand; `None` if they are the row."""

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """What N tokens with queries (N, H, D), keys and values (N, G, D) find, (N, H, D)."""
        if self.alone:
            return _whole(query, key, value, scale)
        if self.places is not None:
            key, value = _Gather.apply(key, value, self.places)  # type: ignore[no-untyped-call]
        if not _GROUPED:
            key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for tensor in (key, value))
        result: torch.Tensor = varlen_attn(
            query,
            key,
            value,
            self.query_starts,
            self.key_starts,
            *self.longest,
            scale=scale,
            **_CAUSAL,
            **_GROUPED,
        )
        return result


def _whole(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """One sequence: torch chooses among more kernels for it, of which some are faster."""
    q, k, v = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))  # (1, heads, N, D)
    result = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
    return result[0].transpose(0, 1)


class _Gather(torch.autograd.Function):
    """Keys and values (N, G, D) by their places (T,), (T, G, D) each.

    A gather's own backward pass sorts the places anew for each layer; the sums of this one are of float32.
    """

    @staticmethod
    def forward(
        ctx: Any, key: torch.Tensor, value: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(places)
        ctx.rows = len(key)
        return key.index_select(0, places), value.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        (places,) = ctx.saved_tensors
        of_key, of_value = (
            gradient.new_zeros(ctx.rows, *gradient.shape[1:], dtype=torch.float32)
            .index_add_(0, places, gradient.float())
            .to(gradient.dtype)
            for gradient in gradients
        )
        return of_key, of_value, None
