"""Models with random weights in the shapes of real ones, and a tokenizer of letters."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from semievol.config import ModelConfig
from semievol.local.model import free_local_model
from semievol.models.loading import readied
from semievol.models.types import resolve_device

CHAT = (
    "{% for message in messages %}<|start|>{{ message['role'] }}|{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant|{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The shape of a Llama."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool


SHAPES = {
    "8B": Shape(4096, 14336, 32, 32, 8, 128, 128256, False),
    "1B": Shape(2048, 8192, 16, 32, 8, 64, 128256, True),
    "70B": Shape(8192, 28672, 80, 64, 8, 128, 128256, False),
    "tiny": Shape(64, 128, 2, 4, 2, 16, 512, True),
}
"""Those of Llama-3.1-8B, Llama-3.2-1B and Llama-3.1-70B, and one for a CPU."""


def written(name: str, folder: Path) -> ModelConfig:
    """The config of a model of this shape, whose folder holds all of it but the weights."""
    llama(name).save_pretrained(folder)
    tokenizer(SHAPES[name].vocab_size).save_pretrained(folder)
    return ModelConfig(name=str(folder), dtype="bfloat16")


def llama(name: str) -> Any:
    """Transformers' config of a shape."""
    from transformers import LlamaConfig

    words = tokenizer(SHAPES[name].vocab_size)
    return LlamaConfig(
        **asdict(SHAPES[name]),
        max_position_embeddings=16384,
        rope_theta=500000.0,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )


def tokenizer(vocabulary: int) -> Any:
    """One token for each letter that is read, and a spelling for each token of the model that is written."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]  # byte-level spellings of space and line break
    special = ("<|pad|>", "<|start|>", "<|end|>")
    spelled = letters + [f"<{number}>" for number in range(len(letters), vocabulary - len(special))]
    words = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(spelled)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens([AddedToken(each, special=True) for each in special])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = CHAT
    return fast


def made(config: ModelConfig) -> Any:
    """The model of a folder that `written` made, with random weights, the same each time."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from semievol.models.types import resolve_dtype

    device = resolve_device(config)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(config.name), dtype=getattr(torch, resolve_dtype(config))
        )
    return readied(model, device)


@contextlib.contextmanager
def random_weights() -> Iterator[None]:
    """Has the engine make its models instead of loading them, and frees what it held."""
    with patch("semievol.local.model.load_model", made):
        try:
            yield
        finally:
            free_local_model()
            free()


def free() -> None:
    """Gives memory that nobody holds back to the card, and counts its peak anew."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float | None:
    """The most memory that tensors took on the card since `free`, in GiB; `None` without a card."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else None


def synchronize() -> None:
    """Waits for the card."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
