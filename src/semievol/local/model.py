"""The base model that this process holds: one, whatever asks for it.

Answering and training borrow the same model and leave the base's weights as they were, bit for bit. An adapter is
merged into it while it answers, which is twice as fast on a CPU as LoRA layers beside the weights.
"""

import gc
import logging
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from semievol.config import ModelConfig
from semievol.errors import ConfigError
from semievol.local.batches import Batch
from semievol.local.memory import keep_freed_memory
from semievol.local.passes import PaddedPasses, Passes, TreePasses, Work
from semievol.local.tree import NAME
from semievol.models import load_model, out_of_memory, quiet, resolve_dtype

_log = logging.getLogger(__name__)


TOLERANCE = 0.25
"""Standard deviations of the logits by which two ways of computing them may differ. Rounding to bfloat16 gives a few
hundredths, another attention more than one."""


Weights = list[tuple[torch.nn.Linear, torch.Tensor]]
"""Layers, and weights for them."""


class LocalModel:
    """A base model in memory, and the adapter that is merged into it."""

    def __init__(self, config: ModelConfig) -> None:
        self.model: Any = load_model(config)
        if self.model.device.type == "cpu":
            keep_freed_memory()
        self.adapter: str | None = None
        """The folder of the merged adapter."""
        self.shares = _takes_trees(self.model)
        """Whether prompts may share their beginnings."""
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
            for layer, original in self._originals:
                layer.weight.data = original.to(layer.weight.device)
        self._originals, self.adapter = [], None

    def passes(self, model: Any, work: Work, pad: int) -> Passes:
        """Forward passes of this model, or of one that is wrapped around it."""
        return TreePasses(model, work) if self.shares else PaddedPasses(model, work, pad)


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


def _takes_trees(model: Any) -> bool:
    """Whether the model computes a tree of tokens as it computes its sequences one by one; sets it up, if it does.

    It does not where a token sees more than keys and values of others by their places: sliding windows, recurrent
    layers, soft caps. So the two ways are compared.
    """
    layers = DynamicCache(config=model.config.get_text_config()).layers
    if not all(type(layer) is DynamicLayer for layer in layers):
        return False
    usual = model.config._attn_implementation
    ids = [id_ % model.config.get_text_config().vocab_size for id_ in range(1000, 1012)]
    batch: Batch[Any] = Batch(tuple(ids[:4]), [tuple(ids[4:6]), ()], [tuple(ids[6:9]), tuple(ids[9:])], [0, 1])
    try:
        with torch.inference_mode():
            expected = [
                model(torch.tensor([path], device=model.device), use_cache=False, logits_to_keep=1).logits[0, -1]
                for path in (ids[:9], ids[:4] + ids[9:])
            ]
            model.set_attn_implementation(NAME)
            found = TreePasses(model, Work()).prefill(batch, [1, 1])
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        same, reason = False, str(error)
    else:
        off = (found - torch.stack(expected)).abs().max() / torch.stack(expected).std()
        same, reason = bool(off < TOLERANCE), f"logits are off by {off:.2f} standard deviations"
    if not same:
        _log.info("%s shares no beginnings of prompts: %s", type(model).__name__, reason)
        model.set_attn_implementation(usual)
    return same


def _exchanged(weights: Weights) -> Weights:
    """Gives the layers these weights; returns those that they had."""
    before = [(layer, layer.weight.data) for layer, _ in weights]
    for layer, weight in weights:
        layer.weight.data = weight
    return before


def merge_adapter(model: Any, folder: Path) -> tuple[Any, Weights]:
    """The model with a LoRA adapter merged, and the layers that changed with their own weights.

    Computed in float32 and rounded once. Subtracting the update again would leave rounding errors in the base, so
    its weights are kept; they wait in the host's memory, where an accelerator's is scarcer.
    """
    wrapped = PeftModel.from_pretrained(model, str(folder))
    originals = []
    for layer in [module for module in wrapped.modules() if isinstance(module, BaseTunerLayer)]:
        base = layer.get_base_layer()
        original = base.weight.data
        base.weight.data = original.to(torch.float32, copy=True)
        layer.merge()
        base.weight.data = base.weight.data.to(original.dtype)
        originals.append((base, original.to("cpu")))
    return wrapped.unload(), originals
