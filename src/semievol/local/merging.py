"""A base model with an adapter's update in its weights, saved as a model of its own."""

from pathlib import Path

from semievol.config import ModelConfig
from semievol.errors import ExportError
from semievol.local.model import free_local_model
from semievol.models.loading import load_model
from semievol.models.quiet import out_of_memory, quiet


def save_merged(config: ModelConfig, adapter: Path, folder: Path, dtype: str) -> None:
    """Writes weights and description of the model to `folder`.

    The sum is made in float32, which takes 4 bytes of memory for each weight, and rounded once: in 16 bits a part of a
    small update is lost.

    Args:
        config: of the base model.
        adapter: the folder of the adapter.
        dtype: that of the saved weights.

    Raises:
        ExportError: the base is quantised, or has parts that PEFT does not merge.
        BackendError: memory does not suffice.
    """
    import torch
    from peft import PeftModel

    if config.quantization is not None:
        raise ExportError(
            f"model.quantization is {config.quantization}: the adapter was trained beside rounded weights, and answers "
            "otherwise in others; export it as an adapter"
        )
    free_local_model()
    in_float32 = config.model_copy(update={"dtype": "float32", "device": "cpu"})
    with quiet(), out_of_memory("merging in float32", "export the adapter, or merge on a machine with more memory"):
        model = PeftModel.from_pretrained(load_model(in_float32), str(adapter))
        try:
            merged = model.merge_and_unload(safe_merge=True)
        except (NotImplementedError, ValueError) as error:
            raise ExportError(f"the adapter cannot be merged: {error}; export it as an adapter") from error
        merged.to(getattr(torch, dtype)).save_pretrained(folder)
