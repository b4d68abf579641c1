"""An adapter in the base model while it answers: beside weights of 16 bits, merged into those of float32.

A weight plus its update is rounded to the spacing of the weights' type. That of bfloat16 is 1/256 to 1/128 of the
weight, and if a training makes few steps or small ones, most of the update is lost in it. That of float32 is 65,536
times finer, and loses no more than another order of the same sums does.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer

from semievol.local.lora import fuse_answers


class Adapter:
    """The LoRA adapter in a folder, in the model from the moment when it is made.

    Subtracting a merged update again would leave rounding errors in the base, so the base's weights are kept. They wait
    in the host's memory, where an accelerator's is scarcer.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        children = [(parent, name, child) for parent in model.modules() for name, child in parent._modules.items()]
        uses = Counter(id(weight) for module in model.modules() for weight in module._parameters.values())
        wrapped = PeftModel.from_pretrained(model, str(folder)).eval()
        replaced = [(parent, name, child) for parent, name, child in children if parent._modules[name] is not child]
        layers = [parent._modules[name] for parent, name, _ in replaced]
        merged_layers = [layer for layer in layers if _is_merged(layer, uses)]
        self._modules = [
            (parent, name, layer)
            for (parent, name, _), layer in zip(replaced, layers, strict=True)
            if layer not in merged_layers
        ]
        """Parents, names of children of theirs, and what was or will be there."""
        self._weights = [pair for layer in dict.fromkeys(merged_layers) for pair in _merge(layer)]
        """Parameters, and values that they had or will have."""
        fuse_answers(layer for _, _, layer in self._modules)
        wrapped.unload()  # takes away what PEFT has written on the model beside its layers
        for parent, name, child in replaced:
            setattr(parent, name, child)
        self._exchange_modules()

    @property
    def merges(self) -> bool:
        """Whether parameters have other values with it: as much memory as they have."""
        return bool(self._weights)

    def exchange(self) -> None:
        """Takes it out of the model, or puts it back in."""
        before = [(parameter, parameter.data) for parameter, _ in self._weights]
        for parameter, value in self._weights:
            parameter.data = value
        self._weights = before
        self._exchange_modules()

    def take_away(self) -> None:
        """Takes it out of the model for good."""
        for parameter, value in self._weights:
            parameter.data = value.to(parameter.device)
        self._weights = []
        self._exchange_modules()

    def _exchange_modules(self) -> None:
        before = [(parent, name, parent._modules[name]) for parent, name, _ in self._modules]
        for parent, name, module in self._modules:
            setattr(parent, name, module)
        self._modules = before


def _is_merged(layer: Any, uses: Mapping[int, int]) -> bool:
    """Whether the layer's update is merged: into a matrix of float32 of its own, which is all that it changes.

    Experts are a layer's parameters, and no layers. PEFT adds their update to them in training, in their own type, so
    that merged ones are the trained ones in any type.
    """
    if isinstance(layer, ParamWrapper):
        return True
    return (
        isinstance(layer, Linear)
        and isinstance(getattr(layer.base_layer, "weight", None), torch.nn.Parameter)
        and layer.base_layer.weight.dtype is torch.float32
        and uses[id(layer.base_layer.weight)] == 1
        and not any(layer.lora_bias.values())
    )


def _merge(layer: Any) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor]]:
    """Merges the layer's update, computed in float32 and rounded once; the parameters, and the values that they had."""
    while isinstance(layer, BaseTunerLayer):  # one around another for each parameter of the experts
        parameter = getattr(layer.get_base_layer(), getattr(layer, "parameter_name", "weight"))
        original = parameter.data
        parameter.data = original.to(torch.float32, copy=True)
        layer.merge()
        parameter.data = parameter.data.to(original.dtype)
        yield parameter, original.to("cpu")
        layer = layer.base_layer
