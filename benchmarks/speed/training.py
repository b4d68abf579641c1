"""One pass over the same rows by LocalTrainer, by TRL's SFTTrainer with its defaults, and by TRL in our type.

All start from the same LoRA weights and see the rows in the same order: the seed is set before the adapter is drawn,
and transformers' Trainer shuffles by it.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semievol.config import ModelConfig, TrainingConfig
from semievol.records import TrainingExample

from .lanes import peak_memory
from .workloads import Workload

Losses = list[float]
Counts = dict[str, int]
Tick = Callable[[float], None]
SEED = 0


def train(way: str, folder: Path, rows: int | None = None) -> dict[str, Any]:
    """Seconds, losses and peak memory of one training.

    `seconds` is the whole call, from loading the model to the trained adapter. `step_seconds` runs from the end of the
    first step to the end of the last: what every further step costs.
    """
    workload = Workload(folder)
    config = workload.config
    recipe = config.training.model_copy(update={"num_train_epochs": 1})
    losses: Losses = []
    ticks: list[float] = []

    def tick(loss: float) -> None:
        losses.append(loss)
        ticks.append(time.perf_counter())

    examples = workload.training()[:rows]
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        counts = WAYS[way](config.model, examples, recipe, Path(scratch), SEED, tick)
        seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "step_seconds": ticks[-1] - ticks[0],
        "steps": len(ticks),
        "losses": [round(loss, 5) for loss in losses],
        "counters": counts,
        "peak_memory_mb": peak_memory(),
    }


def ours(
    model: ModelConfig, rows: Sequence[TrainingExample], recipe: TrainingConfig, out: Path, seed: int, tick: Tick
) -> Counts:
    """Trains with the trainer that the stages use; returns what it counted."""
    from semievol.training import open_trainer
    from semievol.training.job import Job

    def progress(step: int, steps: int, loss: float | None, note: str = "") -> None:
        tick(float("nan") if loss is None else loss)

    trainer = open_trainer(recipe)
    trainer.train(Job(model, rows, recipe, out, seed), progress)
    return asdict(trainer.work)  # type: ignore[attr-defined]  # LocalTrainer's


def trl(
    model: ModelConfig,
    rows: Sequence[TrainingExample],
    recipe: TrainingConfig,
    out: Path,
    seed: int,
    tick: Tick,
    tuned: bool = False,
) -> Counts:
    """Trains with SFTTrainer; everything that the recipe does not say is left as the installed TRL has it.

    `tuned` takes our type for the weights and keeps the activations.
    """
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoTokenizer, PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from semievol.models.loading import resolve_model
    from semievol.models.quiet import quiet

    disable_progress_bars()
    folder = resolve_model(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    modules = recipe.lora_target_modules
    with quiet():
        arguments = SFTConfig(**_arguments(model, recipe, out, seed, tuned))
        set_seed(seed)
        trainer = SFTTrainer(
            model=folder,
            args=arguments,
            train_dataset=Dataset.from_list([as_text(tokenizer, row) for row in rows]),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                task_type="CAUSAL_LM",
                r=recipe.lora_r,
                lora_alpha=recipe.lora_alpha,
                lora_dropout=recipe.lora_dropout,
                target_modules=modules if isinstance(modules, str) else list(modules),
            ),
            callbacks=[ticking(tick)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(out))
    return {}


def _arguments(model: ModelConfig, recipe: TrainingConfig, out: Path, seed: int, tuned: bool) -> dict[str, Any]:
    from semievol.models.types import resolve_device, resolve_dtype

    choices: dict[str, Any] = {}
    if tuned:
        dtype = resolve_dtype(model)
        choices = {"bf16": dtype == "bfloat16", "gradient_checkpointing": False, "model_init_kwargs": {"dtype": dtype}}
    return {
        "output_dir": str(out),
        "num_train_epochs": recipe.num_train_epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler_type,
        "warmup_steps": recipe.warmup_ratio,
        "per_device_train_batch_size": recipe.per_device_train_batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": resolve_device(model) == "cpu",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **choices,
    }


def as_text(tokenizer: Any, row: TrainingExample) -> dict[str, str]:
    """A prompt-completion row whose tokens are those that ours trains on.

    As texts and not as chats, because TRL trains on the line break that the template writes after the end of the turn
    too; it adds the end itself.
    """
    prompt = tokenizer.apply_chat_template(list(row.messages), add_generation_prompt=True, tokenize=False)
    return {"prompt": prompt, "completion": row.response}


def ticking(tick: Tick) -> Any:
    """A callback of transformers' Trainer that passes each step's loss on."""
    from transformers import TrainerCallback

    class Ticking(TrainerCallback):  # type: ignore[misc]
        """Passes each step's loss on."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **unused: Any) -> None:
            if "loss" in logs:
                tick(float(logs["loss"]))

    return Ticking()


WAYS: dict[str, Callable[..., Counts]] = {"ours": ours, "trl": trl, "trl-tuned": functools.partial(trl, tuned=True)}
"""The first is what the others are held against."""
