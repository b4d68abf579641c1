"""Which models cannot be answered with or trained here, told by their configs alone, before anything is loaded."""

from typing import Any

from semievol.config import Config, ModelConfig
from semievol.errors import ConfigError
from semievol.models.loading import model_description

UNLIKE = {
    "blt": "it reads bytes in patches, not the tokens of a tokenizer",
    "cpmant": "it puts tokens of its own before a prompt",
    "diffusion_gemma": "it writes a response all at once, not from left to right",
    "reformer": "its attention hashes all of a sequence, and no batch gives what a sequence gives alone",
    "xlm": "it reads in both directions",
    "xlnet": "it predicts tokens in any order, not from left to right",
}
"""Why model types that transformers loads as language models cannot be used."""


def checked_model(config: ModelConfig) -> str:
    """The type of the model, which is one that answers and is trained here.

    Raises:
        ConfigError: it is not; names the model's type and the reason. Or there is none.
    """
    described = model_description(config)
    reason = refusal(described, remote_code=config.trust_remote_code)
    if reason is not None:
        raise ConfigError(
            f"model.name: {config.name} is of the type {described.model_type!r}: {reason}; "
            "take a model that docs/models.md lists"
        )
    return str(described.model_type)


def is_local(config: Config) -> bool:
    """Whether this program itself loads the model of a run, to answer or to train."""
    return config.backend.kind == "transformers" or config.training.kind == "local"


def writes_chats(config: Config) -> bool:
    """Whether this program itself makes the tokens of a run's chats."""
    return is_local(config) or config.backend.kind == "vllm"


def refusal(described: Any, *, remote_code: bool = False) -> str | None:
    """Why a model with this config of transformers cannot be used; `None` if it can.

    Args:
        described: the model's own config.
        remote_code: whether code that comes with the model may be run.
    """
    from transformers.models.auto import modeling_auto as auto

    name = described.model_type
    if getattr(described, "is_encoder_decoder", False):
        return "it is an encoder with a decoder, and only decoders are trained here"
    if name in UNLIKE:
        return UNLIKE[name]
    if name in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(described, "is_decoder", False):
        return "it is an encoder: it reads in both directions and writes no responses"
    text = described.get_text_config()
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        return "its tokens see those after them, so it writes no responses"
    if name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return None
    if remote_code and "AutoModelForCausalLM" in (getattr(described, "auto_map", None) or {}):
        return None
    if name in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return "transformers does not load its text part by itself, as it reads images too"
    return "transformers knows no language model of this type"
