"""GGUF files as folders of safetensors, which transformers, PEFT and vLLM open alike."""

import functools
import hashlib
import logging
import tempfile
from pathlib import Path

from semievol.config.cache import cache_folder
from semievol.errors import ConfigError
from semievol.models.quiet import quiet

_log = logging.getLogger(__name__)


def converted(path: Path) -> str:
    """The folder with the safetensors of a GGUF file, made on its first use and kept in the user's cache.

    Raises:
        ConfigError: transformers cannot read the file.
    """
    state = path.stat()
    return _converted(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache
def _converted(gguf: Path, size: int, modified: int) -> str:
    """The folder with the safetensors of a GGUF file; `size` and `modified` are there to notice a changed file."""
    import transformers

    with gguf.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    folder = cache_folder() / "models" / f"{gguf.stem}-{digest[:16]}-transformers-{transformers.__version__}"
    if folder.is_dir():
        return str(folder)
    _log.info("converting %s to safetensors, once", gguf.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as scratch:
        with quiet():
            _convert(gguf, Path(scratch) / "model")
        try:
            (Path(scratch) / "model").rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first, with the same bytes
                raise
    return str(folder)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except (ImportError, KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.name: transformers cannot read {gguf}: {error}") from error
    # The tensors are plain float32 now, but transformers refuses to save a model that is marked as quantized.
    del model.config.quantization_config
    del model.hf_quantizer
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
