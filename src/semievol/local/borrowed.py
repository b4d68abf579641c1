"""A base model that is lent to a training, and comes back as it was."""

import copy
from typing import Any

import torch
from peft.tuners.lora import LoraLayer


class State:
    """What a model is beside its weights: configs, its forward pass, and each module's mode, hooks and gradients."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._configs = [(config, _options(config)) for config in _configs(model)]
        self._forward = vars(model).get("forward")
        self._attributes = set(vars(model))
        self._modes = {module: (module.training, _hooks(module)) for module in model.modules()}
        self._wanted = {weight: weight.requires_grad for weight in model.parameters()}

    def restore(self) -> None:
        """Gives the model all of it back."""
        self.restore_pass()
        for name in set(vars(self._model)) - self._attributes:  # TRL's tags, for instance
            delattr(self._model, name)
        for module, (training, hooks) in self._modes.items():
            module.training = training
            for name, hook in hooks.items():
                present = getattr(module, name)
                for key in [key for key in present if key not in hook]:
                    del present[key]
        for weight, requires_grad in self._wanted.items():
            weight.requires_grad_(requires_grad)
            weight.grad = None

    def restore_pass(self) -> None:
        """Gives the model its own forward pass back, with the options that it goes by."""
        for config, options in self._configs:
            vars(config).clear()
            vars(config).update(options)
        vars(self._model).pop("forward", None)
        if self._forward is not None:
            self._model.forward = self._forward


def _configs(model: Any) -> list[Any]:
    """The model's config with those of its parts, and that of its generation."""
    configs = [model.config, getattr(model, "generation_config", None)]
    configs += [part for part in vars(model.config).values() if hasattr(part, "to_dict")]
    return [config for config in configs if config is not None]


def _options(config: Any) -> dict[str, Any]:
    """A config's own options, and its parts as the same objects: modules hold them too."""
    return {name: value if hasattr(value, "to_dict") else copy.deepcopy(value) for name, value in vars(config).items()}


def _hooks(module: torch.nn.Module) -> dict[str, set[int]]:
    """The keys of each kind of a module's hooks."""
    return {
        name: set(hooks) for name, hooks in vars(module).items() if name.endswith("_hooks") and isinstance(hooks, dict)
    }


def train_adapter_alone(model: torch.nn.Module) -> None:
    """Puts the adapter's layers in training mode, and the base in that of answering: it is not what is trained.

    Its dropout, the noise of its routers and its kernels for training would make the model that learns another than
    the one that answers. Layers that recompute their activations have to be in training mode to do so.
    """
    dropouts: list[torch.nn.Module] = []
    for module in model.modules():
        attributes = vars(module)  # a module's own way to set and get attributes takes as long as a small forward pass
        attributes["training"] = bool(attributes.get("gradient_checkpointing"))
        if attributes["training"]:
            attributes.update(
                {name: 0.0 for name, value in attributes.items() if "dropout" in name and isinstance(value, float)}
            )
        if isinstance(module, LoraLayer):
            dropouts.extend(module.lora_dropout.values())
    for dropout in dropouts:
        vars(dropout)["training"] = True
