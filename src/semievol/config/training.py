"""Options of a training: its recipe, and who carries it out."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from semievol.config.backend import ServiceConfig
from semievol.config.executor import RayConfig
from semievol.config.section import Count, Section

PASS_TOKENS = 4096
"""What `training.batch_tokens: auto` means: as much as a long row has by itself."""


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
    """Rows in one forward pass, at least; times `gradient_accumulation_steps`, those of an optimizer step."""
    gradient_accumulation_steps: Count = 8
    """Forward passes in one optimizer step, at most."""
    batch_tokens: Literal["auto"] | Count = "auto"
    """Rows of a step are computed together as long as they have no more tokens than this, for the same steps in fewer
    passes. `auto`: 4,096; 1: in passes of `per_device_train_batch_size` rows. Several workers take such passes."""
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
    """Trackers: `tensorboard`, `wandb`, `mlflow`, `trackio`. They are told the losses of both trainings, and at the end
    of a run the figures of all its stages, the test's and the cost."""


class HostedConfig(Section):
    """Training at a service, with `training.kind: hosted`.

    docs/hosted-training.md says which options of the recipe each provider takes.
    """

    provider: str = "openai"
    """Whose endpoints: `openai` (also Azure and others), `together`, or `my_package.module:Class`."""
    service: ServiceConfig | None = None
    """Where the training is done, with the options of `backend.service`; that itself if it is not set."""
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """OpenAI takes no learning rate but a factor on one that it does not tell; `auto` leaves it to the service."""
    suffix: Annotated[str, Field(min_length=1, max_length=40)] = "semievol"
    """Part of the tuned model's name."""
    poll_seconds: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two looks at a job."""


class TrainingConfig(TrainingRecipe):
    """The recipe of every training, and who carries it out."""

    kind: str = "local"
    """`local` (TRL and PEFT in this process), `hosted` (a service's fine-tuning), `fake`, or
    `my_package.module:Class`."""
    hosted: HostedConfig = HostedConfig()
    launcher: Literal["inline", "accelerate", "ray"] = "inline"
    """Where a local training runs: `inline` (this process), `accelerate` (`num_workers` processes on this machine),
    `ray` (as many on a cluster). This and the next three options change no result beyond rounding; see
    docs/distributed-training.md."""
    num_workers: Count = 1
    """Processes that train together and share the rows of each optimizer step; a GPU each if there are GPUs."""
    fsdp: bool = False
    """Spread the weights over the workers, for models that do not fit one GPU."""
    ray: RayConfig | None = None
    """The cluster of `launcher: ray`, with the options of `executor.ray`; that itself if it is not set. Of them,
    `address`, `runtime_env`, `num_cpus`, `num_gpus` and `resources` count here."""

    @model_validator(mode="after")
    def _can_be_launched(self) -> "TrainingConfig":
        if self.launcher == "inline":
            for option, plain in (("num_workers", 1), ("fsdp", False)):
                if (value := getattr(self, option)) != plain:
                    raise ValueError(f"{option} is {value} and launcher is inline; set launcher to accelerate or ray")
        elif self.kind in ("hosted", "fake"):
            raise ValueError(f"launcher is {self.launcher} and kind is {self.kind}; only local training is launched")
        if self.fsdp and self.num_workers == 1:
            raise ValueError("fsdp is true and num_workers is 1; there is nothing to spread the weights over")
        self.batches_of(self.num_workers)
        return self

    @property
    def pass_tokens(self) -> int:
        """How many tokens of rows are computed together at most, if that is more than a pass has anyway."""
        return PASS_TOKENS if self.batch_tokens == "auto" else self.batch_tokens

    def batches_of(self, workers: int) -> tuple[int, int]:
        """Rows in a forward pass, and forward passes in an optimizer step, of each of the workers.

        Together they take as many rows in a step as one would.

        Raises:
            ValueError: a step's rows cannot be divided so.
        """
        passes = math.gcd(self.gradient_accumulation_steps, workers)
        rows = workers // passes
        if self.per_device_train_batch_size % rows:
            raise ValueError(
                f"{workers} workers cannot share a step of gradient_accumulation_steps "
                f"{self.gradient_accumulation_steps} x per_device_train_batch_size {self.per_device_train_batch_size} "
                "rows; choose a num_workers that divides them"
            )
        return self.per_device_train_batch_size // rows, self.gradient_accumulation_steps // passes


LAUNCHER_OPTIONS = frozenset({"launcher", "num_workers", "fsdp", "ray", "batch_tokens"})
"""Options of a training that change no weights beyond rounding, and so stand in no stage's key."""
