"""In which way a model computes batches: the fastest whose logits are those of its sequences one by one.

Four are tried, from the fastest on: a tree of tokens, padded rows, rows of one length at a time, and these without a
cache. Each is held against the model called with one whole sequence, through all that generation and scoring need.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from semievol.errors import ConfigError
from semievol.local.batches import Batch, Tokens
from semievol.local.even import EvenPasses, Interface, whole
from semievol.local.passes import PaddedPasses, Passes, TreePasses, Work
from semievol.local.tree import NAME

_log = logging.getLogger(__name__)

PROBED = 40
"""Tokens of the longest sequence that is tried. The other one is short, so that padding that is read shows itself."""

TOLERANCE = {torch.float32: 1e-4}
"""The root mean square by which two ways may differ, in standard deviations of the logits, by type."""
TOLERANCE_16 = 0.25
"""That of types of 16 bits. Rounding to bfloat16 gives less than a tenth, another attention about one."""


@dataclass(frozen=True)
class Way:
    """How a model computes batches."""

    name: str
    """`tree`, `padded`, `even`, or `anew`: even, and everything is read again for each token."""
    interface: Interface
    boundary: int | None = None
    """Rows on both sides of this length are computed with rows of their own length only, see `boundary_of`."""

    @property
    def shares(self) -> bool:
        """Whether prompts may share their beginnings."""
        return self.name == "tree"

    @property
    def uneven(self) -> bool:
        """Whether batches of as many rows may take different numbers of passes."""
        return self.name in ("even", "anew") or self.boundary is not None

    def passes(self, model: Any, work: Work, pad: int) -> Passes:
        """Forward passes of the model, or of one that is wrapped around it."""
        even = EvenPasses(model, work, self.interface, self.boundary)
        if self.name in ("even", "anew"):
            return even
        fast = TreePasses(model, work) if self.shares else PaddedPasses(model, work, pad)
        return fast if self.boundary is None else _Bounded(fast, even, self.boundary)


class _Bounded:
    """Batches whose rows all lie on one side of the boundary in the fast way, others in rows of one length."""

    def __init__(self, fast: Passes, even: Passes, boundary: int) -> None:
        self._fast, self._even, self._boundary = fast, even, boundary
        self._chosen = fast

    def prefill(self, batch: Batch[Any], counts: Sequence[int], room: int = 0) -> torch.Tensor:
        """See `Passes`."""
        lengths = [len(path) for path in whole(batch)]
        one_side = max(lengths) + room <= self._boundary or min(lengths) > self._boundary
        self._chosen = self._fast if one_side else self._even
        return self._chosen.prefill(batch, counts, room)

    def select(self, rows: Sequence[int]) -> None:
        """See `Passes`."""
        self._chosen.select(rows)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Passes`."""
        return self._chosen.step(tokens)


def way_of(model: Any, limit: int) -> Way:
    """The fastest way whose logits are right; sets the model's attention up for it.

    Args:
        limit: the most tokens that a prompt with its response may have.

    Raises:
        ConfigError: no way gives the logits of single sequences.
    """
    interface = Interface.of(model)
    without_cache = dataclasses.replace(interface, cache=None)
    boundary = boundary_of(model.config.get_text_config(), limit)
    vocabulary = model.config.get_text_config().vocab_size
    ids = tuple((1000 + 7 * place) % vocabulary for place in range(PROBED))
    expected = _one_by_one(model, ids)
    if not torch.isfinite(expected).all():  # nothing can be told; training and scoring will say so
        return Way("even", interface, boundary)
    usual = model.config._attn_implementation
    ways: dict[str, Callable[[], Passes]] = {
        "tree": lambda: TreePasses(model, Work()),
        "padded": lambda: PaddedPasses(model, Work(), ids[0]),
        "even": lambda: EvenPasses(model, Work(), interface),
        "anew": lambda: EvenPasses(model, Work(), without_cache),
    }
    if not _only_keys_and_values(model):
        del ways["tree"]
    for name, passes in ways.items():
        try:
            if name == "tree":
                model.set_attn_implementation(NAME)
            off = _off(passes(), ids, expected, share=name == "tree")
        except Exception as error:  # whatever a model's code makes of what it was not written for
            reason = str(error)
        else:
            if off < TOLERANCE.get(model.dtype, TOLERANCE_16):
                return Way(name, without_cache if name == "anew" else interface, boundary)
            reason = f"logits are off by {off:.2f} standard deviations"
        _log.info("%s computes no batches in the way %r: %s", type(model).__name__, name, reason)
        if name == "tree":
            model.set_attn_implementation(usual)
    raise ConfigError(
        f"model.name: {type(model).__name__} gives other logits in a batch or token by token than for a whole "
        f"sequence ({reason}); it cannot be used, take another model or another version of transformers"
    )


def boundary_of(text_config: Any, limit: int) -> int | None:
    """The length beyond which the model sees all positions otherwise, if rows may get as long; else `None`.

    LongRoPE has two sets of frequencies, and transformers takes the long ones for a whole batch if one of its rows
    is longer than what the model was first trained with.
    """
    rope = getattr(text_config, "rope_parameters", None) or {}
    of_layers = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    lengths = [
        part.get("original_max_position_embeddings") or getattr(text_config, "original_max_position_embeddings", None)
        for part in of_layers
        if part.get("rope_type") == "longrope"
    ]
    return min((length for length in lengths if length is not None and length < limit), default=None)


def _only_keys_and_values(model: Any) -> bool:
    """Whether a token sees nothing but keys and values of others, and all of those before it.

    Sliding windows and recurrent layers are otherwise, and a few tokens do not show it.
    """
    layers = DynamicCache(config=model.config.get_text_config()).layers
    return all(type(layer) is DynamicLayer for layer in layers)


def _one_by_one(model: Any, ids: Tokens) -> torch.Tensor:
    """The logits that `_off` asks for, each from the model's pass over a whole sequence, (6, V)."""
    with torch.inference_mode():
        return torch.stack(
            [
                model(torch.tensor([path], device=model.device), use_cache=False).logits[0, -1].float()
                for path in _paths(ids)
            ]
        )


def _paths(ids: Tokens) -> list[Tokens]:
    long, short = ids[:-4], ids[:4] + ids[7:10]
    first, second, third, fourth = ids[-4:]
    return [long, short, (*long, first), (*short, second), (*short, second, third), (*short, second, third, fourth)]


def _off(passes: Passes, ids: Tokens, expected: torch.Tensor, *, share: bool) -> float:
    """Root mean square between logits `expected` and those of a batch that goes on token by token, in their deviations.

    Of all logits together: in 16 bits the one that is off most may be off by half a deviation, by rounding alone.
    """
    long, short = _paths(ids)[:2]
    batch: Batch[Any] = Batch(stems=[()], leaves=[long, short], stem_of_leaf=[0, 0], leaf_of_row=[0, 1])
    if share:
        batch = Batch(long[:4], [long[4:6], ()], [long[6:], short[4:]], stem_of_leaf=[0, 1], leaf_of_row=[0, 1])
    with torch.inference_mode():
        logits = [*passes.prefill(batch, [1, 1], room=3), *passes.step(ids[-4:-2])]
        passes.select([1])
        logits += [*passes.step(ids[-2:-1]), *passes.step(ids[-1:])]
    off = (torch.stack(logits).float() - expected).square().mean().sqrt() / expected.std()
    return float(off) if torch.isfinite(off) else float("inf")
