"""LoRA layers with fewer passes over their tensors than PEFT's own, for training and for answering.

PEFT computes base and update as separate outputs, in two types, and scales and adds them afterwards. Here one function
does both in the type of the input: in training forward and backward, in answering with copies of A and B in that type.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn.functional import linear


def fuse(model: torch.nn.Module) -> None:
    """Lets every plain LoRA layer compute base and update together; any other layer stays as it is.

    The parameters stay PEFT's, and `unload` takes the layers away as it does otherwise.
    """
    for layer in model.modules():
        if _is_update(layer) and _has_no_bias(layer) and not _drops(layer):
            layer.forward = partial(_forward, layer)


def _is_update(layer: Any) -> bool:
    """Whether what the layer adds to its base is s B A x and nothing else."""
    return (
        isinstance(layer, Linear)
        and len(names := list(layer.active_adapters)) == 1
        and type(layer.base_layer) is torch.nn.Linear
        and not layer.lora_bias[names[0]]
        and not layer.lora_variant  # DoRA and the like
    )


def _has_no_bias(layer: Any) -> bool:
    return layer.base_layer.bias is None


def _drops(layer: Any) -> bool:
    return not isinstance(layer.lora_dropout[layer.active_adapters[0]], torch.nn.Identity)


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    weight: torch.Tensor = layer.base_layer.weight
    if layer.disable_adapters or layer.merged or x.dtype != weight.dtype:
        result: torch.Tensor = type(layer).forward(layer, x)
        return result
    (name,) = layer.active_adapters
    a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    out: torch.Tensor = _Update.apply(x, weight, a, b, scale)  # type: ignore[no-untyped-call]
    return out


class _Update(torch.autograd.Function):
    """W x + s B A x of inputs (..., I) with W (O, I), A (R, I), B (O, R): (..., O). W gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        ctx.scale, ctx.dtypes = scale, (a.dtype, b.dtype)
        rows, a, b = x.flatten(0, -2), a.to(x.dtype), b.to(x.dtype)
        low = rows @ a.t()  # (N, R)
        result = (rows @ weight.t()).addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, low)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, a, b, low = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)  # (N, O)
        of_low = (gradient @ b).mul_(ctx.scale)  # (N, R)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight).addmm_(of_low, a).view(*gradients[0].shape[:-1], -1)
        of_a = (of_low.t() @ rows).to(ctx.dtypes[0])
        of_b = (low.t() @ gradient).t().to(ctx.dtypes[1]).mul_(ctx.scale)
        return of_x, None, of_a, of_b, None


def fuse_answers(layers: Iterable[Any]) -> None:
    """Lets LoRA layers compute base and update together if no gradients are wanted, and nothing is dropped.

    Any other layer stays as it is. A and B are copied in the base's type: what is changed in them later is not seen.
    """
    for layer in layers:
        if _is_update(layer) and layer.base_layer.weight.dtype.is_floating_point:
            layer.forward = _AnsweringLinear(layer)


class _AnsweringLinear:
    """W x + bias + s B A x without gradients."""

    def __init__(self, layer: Any) -> None:
        (name,) = layer.active_adapters
        self._own = partial(type(layer).forward, layer)
        self._weight, self._bias = layer.base_layer.weight, layer.base_layer.bias
        self._a = layer.lora_A[name].weight.data.to(self._weight.dtype)
        self._b = layer.lora_B[name].weight.data.to(self._weight.dtype)
        self._scale = layer.scaling[name]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != self._weight.dtype:
            result: torch.Tensor = self._own(x)
            return result
        out = linear(x, self._weight, self._bias)
        low = linear(x, self._a).flatten(0, -2)
        out.view(-1, out.shape[-1]).addmm_(low, self._b.t(), alpha=self._scale)
        return out
