"""The base model that this process holds: one, whatever asks for it.

Answering and training borrow the same model and leave the base's weights as they were, bit for bit.
"""

import gc
from pathlib import Path
from typing import Any

import torch

from semievol.config import ModelConfig
from semievol.errors import ConfigError
from semievol.local.adapter import Adapter
from semievol.local.memory import keep_freed_memory
from semievol.local.norms import fuse_norms
from semievol.local.passes import Passes, Work
from semievol.local.ways import way_of
from semievol.models.loading import load_model, model_limit
from semievol.models.quiet import out_of_memory, quiet, release_memory
from semievol.models.types import resolve_dtype


class LocalModel:
    """A base model in memory, and the adapter that is in it."""

    def __init__(self, config: ModelConfig) -> None:
        self.model: Any = load_model(config)
        text = self.model.config.get_text_config()
        if getattr(text, "output_router_logits", False):  # for a loss that balances experts, which is no part of ours
            text.output_router_logits = False
        if self.model.device.type == "cpu":
            keep_freed_memory()
        elif self.model.device.type == "cuda":
            fuse_norms(self.model)
        self.adapter: str | None = None
        """The folder of the adapter that the model answers with; `None` is the base alone."""
        self.way = way_of(self.model, model_limit(config))
        self._last: tuple[str, Adapter] | None = None
        """The adapter that was used last, and its folder."""

    def use(self, adapter: str | None) -> None:
        """Answers with the adapter in a folder, in place of the one that is in the model; `None` is the base alone.

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
        if self._last is not None and self._last[0] == adapter:
            self._last[1].exchange()
        else:
            self.forget()
            try:
                with quiet(), torch.no_grad(), out_of_memory(f"loading {adapter}", "bfloat16 halves the weights"):
                    self._last = adapter, Adapter(self.model, Path(adapter))
            except BaseException:
                free_local_model()  # it may be there in part
                raise
        self.adapter = adapter

    def forget(self) -> None:
        """Keeps no adapter that is not in the model: it may change, or its memory is needed."""
        if self.adapter is None:
            self._last = None

    def _back_to_base(self) -> None:
        if self.adapter is None:
            return
        assert self._last is not None
        if self._last[1].merges and self.model.device.type != "cpu":  # an accelerator's memory is scarcer
            self._last[1].take_away()
            self._last = None
        else:
            self._last[1].exchange()
        self.adapter = None

    @property
    def shares(self) -> bool:
        """Whether prompts may share their beginnings."""
        return self.way.shares

    def passes(self, model: Any, work: Work, pad: int) -> Passes:
        """Forward passes of this model, or of one that is wrapped around it."""
        return self.way.passes(model, work, pad)


_held: dict[str, LocalModel] = {}
"""At most one."""


def local_model(config: ModelConfig) -> LocalModel:
    """The model of this config; loaded on the first call, and again only after one for another config."""
    config = config.model_copy(update={"dtype": resolve_dtype(config)})  # a run's is resolved, that of its check is not
    config = config.model_copy(update={"chat_template_kwargs": {}, "date": None})  # of its words, not its weights
    key = config.model_dump_json()
    if key not in _held:
        free_local_model()
        _held[key] = LocalModel(config)
    return _held[key]


def free_local_model() -> None:
    """Gives the memory back, once nobody else holds the model."""
    _held.clear()
    gc.collect()
    release_memory()
