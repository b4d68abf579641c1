"""LoRA layers that train with fewer passes over their tensors than PEFT's own.

PEFT computes base and update as separate outputs, in two types under autocast, and scales and adds them afterwards.
Here one function does both, forward and backward, in the type of the input.
"""

from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear


def fuse(model: torch.nn.Module) -> None:
    """Lets every plain LoRA layer compute base and update together; any other layer stays as it is.

    The parameters stay PEFT's, and `unload` takes the layers away as it does otherwise.
    """
    for layer in model.modules():
        if isinstance(layer, Linear) and _plain(layer):
            layer.forward = partial(_forward, layer)


def _plain(layer: Linear) -> bool:
    """Whether the layer is W x + s B A x and nothing else."""
    names = list(layer.active_adapters)
    return (
        len(names) == 1
        and type(layer.base_layer) is torch.nn.Linear
        and layer.base_layer.bias is None
        and not layer.lora_bias[names[0]]
        and not layer.lora_variant  # DoRA and the like
        and isinstance(layer.lora_dropout[names[0]], torch.nn.Identity)
    )


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    weight: torch.Tensor = layer.base_layer.weight
    if layer.disable_adapters or layer.merged or x.dtype != weight.dtype:
        result: torch.Tensor = type(layer).forward(layer, x)
        return result
    (name,) = layer.active_adapters
    a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    found: torch.Tensor = _Update.apply(x, weight, a, b, scale)  # type: ignore[no-untyped-call]
    return found


class _Update(torch.autograd.Function):
    """W x + s B A x of inputs (..., I) with W (O, I), A (R, I), B (O, R): (..., O). W gets no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        ctx.scale, ctx.dtypes = scale, (a.dtype, b.dtype)
        rows, a, b = x.flatten(0, -2), a.to(x.dtype), b.to(x.dtype)
        low = rows @ a.t()  # (N, R)
        found = (rows @ weight.t()).addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, low)
        return found.view(*x.shape[:-1], -1)

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
