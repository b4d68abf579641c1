"""The machine's limit: its measured matrix-product rate, and the arithmetic that the model needs.

Counted are the products with the layers' weights (2 FLOP a weight and token forward), attention over the tokens before
(causal, so half of the square), and the output head where its logits are needed. Left out are norms, activations,
softmax, sampling and the optimizer: a limit that nothing reaches.
"""

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from .workloads import Workload

SQUARE = 2048
"""Side of the big product that is measured for reference."""


@dataclass(frozen=True)
class Shape:
    """What the arithmetic of a Llama depends on."""

    hidden: int
    intermediate: int
    keys: int
    """Width of keys, and of values: key-value heads x head size."""
    queries: int
    """Width of queries: heads x head size."""
    layers: int
    vocabulary: int

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of each weight matrix of a layer: q, k, v, o, gate, up, down."""
        h, i = self.hidden, self.intermediate
        return (h, self.queries), (h, self.keys), (h, self.keys), (self.queries, h), (h, i), (h, i), (i, h)

    @property
    def weights(self) -> int:
        """Weights of all layers' matrices, the embedding and the head not among them."""
        return self.layers * sum(a * b for a, b in self.products)

    def lora_weights(self, rank: int) -> int:
        """Weights of a LoRA update of every layer's matrices."""
        return self.layers * sum(rank * (a + b) for a, b in self.products)

    def attention(self, tokens: int, length: float) -> float:
        """FLOP of causal attention forward: queries with keys and weights with values, `length` / 2 of them each."""
        return self.layers * 2 * 2 * self.queries * tokens * length / 2


def forward_flop(shape: Shape, tokens: int, logits: int, length: float) -> float:
    """FLOP to compute `tokens` tokens of texts of a mean `length`, with the vocabulary's logits at `logits` places."""
    return 2 * shape.weights * tokens + shape.attention(tokens, length) + 2 * shape.hidden * shape.vocabulary * logits


def training_flop(shape: Shape, tokens: int, logits: int, length: float, rank: int) -> float:
    """FLOP of one LoRA pass: forward and back through the frozen weights, and LoRA's own three products.

    No gradients of the frozen weights are needed: 4 FLOP a weight and token, not 6. Attention's backward pass is twice
    its forward; so is LoRA's; the head's is as much as its forward, for it is frozen.
    """
    frozen = 2 * (2 * shape.weights * tokens + 2 * shape.hidden * shape.vocabulary * logits)
    return frozen + 3 * shape.attention(tokens, length) + 6 * shape.lora_weights(rank) * tokens


def shape_of(config: Any) -> Shape:
    """The shape in a `transformers` config."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        keys=config.num_key_value_heads * head,
        queries=config.num_attention_heads * head,
        layers=config.num_hidden_layers,
        vocabulary=config.vocab_size,
    )


@cache
def model_shape(workload: Workload) -> Shape:
    """The shape of the workload's model."""
    from transformers import AutoConfig

    from semievol.models.loading import resolve_model

    return shape_of(AutoConfig.from_pretrained(resolve_model(workload.config.model)))


def rates(workload: Workload, tokens: int, seconds: float) -> dict[str, float]:
    """FLOP a second of the products of one layer with `tokens` rows, and of a big square one.

    The median over as many rounds as fit into `seconds`.
    """
    shape = model_shape(workload)
    return {
        "layer": measured(tuple((tokens, a, b) for a, b in shape.products), workload.config, seconds),
        "square": measured(((SQUARE, SQUARE, SQUARE),), workload.config, seconds),
    }


def measured(products: tuple[tuple[int, int, int], ...], config: Any, seconds: float) -> float:
    """FLOP a second of `(rows, in, out)` products one after another, in the type and on the device of the config."""
    import statistics

    import torch

    from semievol.models.types import resolve_device

    device, dtype = resolve_device(config.model), getattr(torch, config.model.dtype)
    pairs = [
        (torch.randn(rows, a, device=device, dtype=dtype), torch.randn(b, a, device=device, dtype=dtype))
        for rows, a, b in products
    ]
    flop = sum(2 * rows * a * b for rows, a, b in products)
    found: list[float] = []
    with torch.inference_mode():
        end = time.perf_counter() + seconds
        while len(found) < 4 or time.perf_counter() < end:
            started = time.perf_counter()
            for x, w in pairs:
                torch.nn.functional.linear(x, w)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            found.append(flop / (time.perf_counter() - started))
    return statistics.median(found[1:])
