"""How much memory a model takes, by arithmetic on the shapes of its parts; nothing is loaded.

What a training keeps for the backward pass is that of a Llama's layer as it is computed here (`semievol.local`): flash
attention, norms and LoRA layers of one kernel each, and logits of answer tokens alone. On an H100 it was right to
within a twentieth for 8B and 1B at 4,096 tokens (tests/forecast/test_memory_needed.py); a batch whose rows have a
beginning in common takes less.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from semievol.config import Config, ModelConfig, TrainingConfig
from semievol.models.loading import model_description
from semievol.models.quiet import quiet
from semievol.models.types import resolve_device, resolve_dtype

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight: 4 bits, and of each 64 a scale of 8 bits, and of each 256 of these one of 32."""
ADAPTER_BYTES = 16
"""Of a weight of an adapter: it, its gradient and AdamW's two moments, each in float32."""
LOGIT_BYTES = 12
"""Of each entry of the vocabulary for each answer token: the logit and its gradient, and both in float32 for the loss;
or three of float32."""
GB = 1e9


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a model's parts."""

    linear: int
    """Weights in linear layers, without the output head: those that can be in 4 bits and get an update."""
    others: int
    """All other weights."""
    sides: int
    """Inputs and outputs of these linear layers, added up: an update of rank r has r times as many weights."""
    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward part that one token passes through."""
    keys: int
    """Width of the keys, and of the values."""
    vocabulary: int


def shape_of(config: ModelConfig) -> ModelShape:
    """The shape of a model, told by its description.

    Raises:
        ConfigError: there is no such model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    described = model_description(config)
    with torch.device("meta"), quiet():
        model = AutoModelForCausalLM.from_config(described, trust_remote_code=config.trust_remote_code)
    head = model.get_output_embeddings()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    linear = sum(layer.weight.numel() for layer in layers)
    text = described.get_text_config()
    hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
    width = int(getattr(text, "head_dim", None) or hidden // heads)
    return ModelShape(
        linear=linear,
        others=sum(weight.numel() for weight in model.parameters()) - linear,
        sides=sum(layer.in_features + layer.out_features for layer in layers),
        layers=int(text.num_hidden_layers),
        hidden=hidden,
        inner=_inner(text),
        keys=width * int(getattr(text, "num_key_value_heads", None) or heads),
        vocabulary=int(text.vocab_size),
    )


def _inner(text: Any) -> int:
    """Width of the feed-forward part that one token passes through: of experts, those that it is sent to."""
    experts = getattr(text, "num_experts_per_tok", None)
    of_expert = getattr(text, "moe_intermediate_size", None)
    width = int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size)
    return int(experts) * int(of_expert or width) if experts else width


def of_weights(shape: ModelShape, dtype: str, quantization: str | None) -> float:
    """Bytes of the base's weights."""
    return shape.linear * (NF4_BYTES if quantization else BYTES[dtype]) + shape.others * BYTES[dtype]


def of_training(
    shape: ModelShape, dtype: str, quantization: str | None, recipe: TrainingConfig, tokens: int, answers: int
) -> float:
    """Bytes of a training at its peak.

    Args:
        tokens: of the largest batch, each row counted whole.
        answers: how many of these are answers.
    """
    size = BYTES[dtype]
    # A layer keeps both inputs of its norms, what these give, queries, keys, values and what attention gives, and four
    # tensors between the projections of its feed-forward part.
    layer = (6 * shape.hidden + 2 * shape.keys + 4 * shape.inner) * size
    kept = shape.layers * shape.hidden * size + layer if recipe.gradient_checkpointing else shape.layers * layer
    return (
        of_weights(shape, dtype, quantization)
        + shape.sides * recipe.lora_r * ADAPTER_BYTES
        + tokens * kept
        + answers * shape.vocabulary * LOGIT_BYTES
    )


def memory_of(config: ModelConfig) -> float | None:
    """Bytes of memory where the model computes; `None` if it is not known."""
    device = resolve_device(config)
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.get_device_properties(device).total_memory)
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows
        return None


@dataclass(frozen=True)
class Load:
    """What a model is loaded for."""

    model: ModelConfig
    recipe: TrainingConfig | None
    """`None` if nothing is trained here."""
    tokens: int
    """Of the longest training row."""
    answers: int
    """How many of these are its response."""

    @property
    def rows(self) -> int:
        """Rows of such a length in a pass of the training."""
        if self.recipe is None:
            return 0
        of_step = self.recipe.per_device_train_batch_size * self.recipe.gradient_accumulation_steps
        together = min(of_step, self.recipe.pass_tokens // max(self.tokens, 1))
        return max(self.recipe.per_device_train_batch_size, together)

    def weights(self, shape: ModelShape) -> float:
        """Bytes of the base's weights."""
        return of_weights(shape, resolve_dtype(self.model), self.model.quantization)

    def most(self, shape: ModelShape) -> float:
        """Bytes that are needed at once."""
        if self.recipe is None:
            return self.weights(shape)
        dtype = resolve_dtype(self.model)
        tokens, answers = self.rows * self.tokens, self.rows * self.answers
        return of_training(shape, dtype, self.model.quantization, self.recipe, tokens, answers)

    def of_one_row(self) -> "Load | None":
        """What is left of it if memory does not suffice: passes of one row, where a training can go on with them."""
        if self.recipe is None or self.recipe.num_workers > 1 or resolve_device(self.model) == "cpu":
            return None
        recipe = self.recipe.model_copy(update={"per_device_train_batch_size": 1, "batch_tokens": 1})
        return replace(self, recipe=recipe)

    def smaller(self) -> "dict[str, Load]":
        """The same with one option that saves memory, by what is to be set; without those that are set."""
        jobs = {}
        if self.model.quantization is None:
            model = self.model.model_copy(update={"quantization": "nf4"})
            jobs["model.quantization: nf4"] = replace(self, model=model)
        if self.recipe is not None:
            smaller_passes = {"per_device_train_batch_size": 1, "batch_tokens": 1}
            for options in (smaller_passes, {"gradient_checkpointing": True}):
                changes = {name: value for name, value in options.items() if getattr(self.recipe, name) != value}
                other = replace(self, recipe=self.recipe.model_copy(update=changes))
                if other.rows < self.rows or "gradient_checkpointing" in changes:
                    names = [f"training.{name}: {str(value).lower()}" for name, value in changes.items()]
                    jobs[" and ".join(names)] = other
        return jobs


def load_of(config: Config, tokens: int) -> Load:
    """The largest load of a run: its last training, or what answers.

    Args:
        config: the whole run; how long a response may be is known.
        tokens: of the longest prompt.
    """
    recipe = config.recipe("evolve" if config.evolve.enabled else "warmup")
    trained_here = recipe.kind == "local" and (config.evolve.enabled or config.warmup.enabled)
    return Load(config.model, recipe if trained_here else None, tokens + config.longest, config.longest)


def that_fit(load: Load, shape: ModelShape, available: float) -> dict[tuple[str, ...], float]:
    """The smallest sets of options with which it fits, and the bytes that it needs then; nothing if it never does."""
    fitting: dict[tuple[str, ...], float] = {}
    level: dict[tuple[str, ...], Load] = {(): load}
    while level:
        following: dict[tuple[str, ...], Load] = {}
        for options, larger in level.items():
            for option, other in larger.smaller().items():
                together = tuple(sorted((*options, option)))
                if any(set(known) <= set(together) for known in fitting):
                    continue
                if (most := other.most(shape)) < available:
                    fitting[together] = most
                else:
                    following[together] = other
        level = following
    return fitting


def fits(config: ModelConfig) -> bool:
    """Whether the base's weights do, as far as can be told."""
    available = memory_of(config)
    try:
        return available is None or Load(config, None, 0, 0).most(shape_of(config)) < available
    except (AttributeError, TypeError, ValueError):
        return True


def memory_notes(load: Load) -> Iterator[str]:
    """What a model needs, whether it fits, and what would have it fit."""
    try:
        shape = shape_of(load.model)
    except (AttributeError, TypeError, ValueError) as error:
        yield f"memory: it cannot be told how much this model takes ({error})"
        return
    available = memory_of(load.model)
    kind = load.model.quantization or resolve_dtype(load.model)
    line = f"memory: {load.weights(shape) / GB:.1f} GB of weights in {kind}"
    if load.recipe is not None:
        line += f"; training at most {load.most(shape) / GB:.1f} GB, with batches of {load.rows} x {load.tokens} tokens"
    if available is None:
        yield line
        return
    yield f"{line}; there are {available / GB:.1f} GB"
    if load.most(shape) < available:
        return
    if (alone := load.of_one_row()) is not None and alone.most(shape) < available:
        yield f"what does not fit is computed in parts; a row alone takes at most {alone.most(shape) / GB:.1f} GB"
        return
    fitting = that_fit(load, shape, available)
    for options, most in sorted(fitting.items(), key=lambda pair: (len(pair[0]), pair[1])):
        yield f"that does not fit; it would need {most / GB:.1f} GB with {' and '.join(options)}"
    if not fitting:
        yield "that does not fit, whatever is set; take a smaller model, shorter rows or a card with more memory"
