"""The base model that this process holds: one, whatever asks for it.

Answering and training borrow the same model and leave the base's weights as they were, bit for bit. An adapter is
merged into it while it answers, which is twice as fast on a CPU as LoRA layers beside the weights.
"""

import gc
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from semievol.config import ModelConfig
from semievol.errors import ConfigError
from semievol.local.memory import keep_freed_memory
from semievol.local.passes import Passes, Work
from semievol.local.ways import way_of
from semievol.models import load_model, model_limit, out_of_memory, quiet, resolve_dtype

Weights = list[tuple[torch.nn.Parameter, torch.Tensor]]
"""Parameters, and values for them."""


class LocalModel:
    """A base model in memory, and the adapter that is merged into it."""

    def __init__(self, config: ModelConfig) -> None:
        self.model: Any = load_model(config)
        text = self.model.config.get_text_config()
        if getattr(text, "output_router_logits", False):  # for a loss that balances experts, which is no part of ours
            text.output_router_logits = False
        if self.model.device.type == "cpu":
            keep_freed_memory()
        self.adapter: str | None = None
        """The folder of the merged adapter."""
        self.way = way_of(self.model, model_limit(config))
        self._originals: Weights = []
        self._merged: tuple[str, Weights] | None = None
        """The adapter that was merged last, and the weights that it made; as much memory as while it is merged."""

    def use(self, adapter: str | None) -> None:
        """Merges the adapter in a folder, in place of the one that is merged; `None` is the base alone.

        Raises:
            ConfigError: the folder holds no adapter.
            BackendError: memory does not suffice.
        """
        if adapter == self.adapter:
            return
        if adapter is not None and not (Path(adapter) / "adapter_config.json").is_file():
            raise ConfigError(f"{adapter} holds no PEFT adapter")
        self._back_to_base()
        if adapter is None:
            return
        if self._merged is not None and self._merged[0] == adapter:
            self._originals = _exchanged(self._merged[1])
        else:
            self.forget()
            try:
                with quiet(), torch.no_grad(), out_of_memory(f"merging {adapter}", "bfloat16 halves the weights"):
                    self.model, self._originals = merge_adapter(self.model, Path(adapter))
            except BaseException:
                free_local_model()  # it may be merged in part
                raise
        self.adapter = adapter

    def forget(self) -> None:
        """Keeps no merged weights: their adapter may change, or their memory is needed."""
        self._merged = None

    def _back_to_base(self) -> None:
        if self.adapter is not None and self.model.device.type == "cpu":  # an accelerator's memory is scarcer
            self._merged = self.adapter, _exchanged(self._originals)
        else:
            for parameter, original in self._originals:
                parameter.data = original.to(parameter.device)
        self._originals, self.adapter = [], None

    @property
    def shares(self) -> bool:
        """Whether prompts may share their beginnings."""
        return self.way.shares

    def passes(self, model: Any, work: Work, pad: int) -> Passes:
        """Forward passes of this model, or of one that is wrapped around it."""
        return self.way.passes(model, work, pad)


_held: dict[ModelConfig, LocalModel] = {}
"""At most one."""


def local_model(config: ModelConfig) -> LocalModel:
    """The model of this config; loaded on the first call, and again only after one for another config."""
    config = config.model_copy(update={"dtype": resolve_dtype(config)})  # a run's is resolved, that of its check is not
    if config not in _held:
        free_local_model()
        _held[config] = LocalModel(config)
    return _held[config]


def free_local_model() -> None:
    """Gives the memory back, once nobody else holds the model."""
    _held.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _exchanged(weights: Weights) -> Weights:
    """Gives the parameters these values; returns those that they had."""
    before = [(parameter, parameter.data) for parameter, _ in weights]
    for parameter, value in weights:
        parameter.data = value
    return before


def merge_adapter(model: Any, folder: Path) -> tuple[Any, Weights]:
    """The model with a LoRA adapter merged, and the parameters that changed with their own values.

    Computed in float32 and rounded once. Subtracting the update again would leave rounding errors in the base, so
    its weights are kept; they wait in the host's memory, where an accelerator's is scarcer.
    """
    wrapped = PeftModel.from_pretrained(model, str(folder))
    originals = []
    for layer in [module for module in wrapped.modules() if isinstance(module, BaseTunerLayer)]:
        name = getattr(layer, "parameter_name", "weight")  # experts are a layer's parameters, and no layers
        parameter = getattr(layer.get_base_layer(), name)
        original = parameter.data
        parameter.data = original.to(torch.float32, copy=True)
        layer.merge()
        parameter.data = parameter.data.to(original.dtype)
        originals.append((parameter, original.to("cpu")))
    return wrapped.unload(), originals
