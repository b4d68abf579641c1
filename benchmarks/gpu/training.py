"""LoRA trainings of a model with random weights: ours, PEFT in a plain loop, TRL as it comes, TRL with packing."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.model import free, made, peak_gb, random_weights, synchronize
from benchmarks.speed.limit import shape_of, training_flop
from benchmarks.speed.training import as_text, ours, ticking
from semievol.config import ModelConfig, TrainingConfig
from semievol.models.loading import load_template, load_tokenizer, model_description, model_limit
from semievol.models.quiet import quiet
from semievol.models.types import resolve_device
from semievol.records import TrainingExample
from semievol.training.rows import TokenisedRow, tokenised

WARMING = 2
"""Steps that are not timed: kernels are chosen and compiled, memory is asked for."""


@dataclass(frozen=True)
class Training:
    """What each way is given."""

    config: ModelConfig
    examples: Sequence[TrainingExample]
    rows: Sequence[TokenisedRow]
    """The examples in tokens."""
    recipe: TrainingConfig
    out: Path
    """Where the adapter may be written."""
    tick: Callable[[float], None]
    """Is told each step's loss."""


Way = Callable[[Training], None]


def measure(
    config: ModelConfig, examples: Sequence[TrainingExample], together: int, ways: Sequence[str] = ()
) -> dict[str, Any]:
    """Tokens a second, losses and peak memory of each way, one after another on the same rows in the same order."""
    recipe = TrainingConfig(
        num_train_epochs=1, per_device_train_batch_size=together, gradient_accumulation_steps=1, learning_rate=1e-4
    )
    rows = tokenised(load_template(config), examples, model_limit(config))
    found: dict[str, Any] = {
        "rows": len(rows),
        "rows_a_step": together,
        "tokens_a_row": statistics.mean(row.length for row in rows),
        "answer_tokens_a_row": statistics.mean(len(row.response) for row in rows),
    }
    for name in ways or WAYS:
        if name == "trl, packed" and together == 1:
            continue  # nothing to pack
        found[name] = _measured(WAYS[name], config, examples, recipe, rows)
    return found


def _measured(
    way: Way,
    config: ModelConfig,
    examples: Sequence[TrainingExample],
    recipe: TrainingConfig,
    rows: Sequence[TokenisedRow],
) -> dict[str, Any]:
    free()
    losses: list[float] = []
    ticks: list[float] = []
    peak = None

    def tick(loss: float) -> None:
        nonlocal peak
        losses.append(loss)
        synchronize()
        ticks.append(time.perf_counter())
        peak = peak_gb()

    try:
        with tempfile.TemporaryDirectory() as out, quiet():
            way(Training(config, examples, rows, recipe, Path(out) / "adapter", tick))
    except torch.OutOfMemoryError as error:
        return {"out_of_memory": str(error).partition(".")[0]}
    finally:
        free()
    seconds = [after - before for before, after in zip(ticks[WARMING - 1 :], ticks[WARMING:], strict=False)]
    tokens = sum(row.length for row in rows) / len(ticks)  # a step
    second = statistics.median(seconds)
    lengths = [row.length for row in rows]
    flop = training_flop(
        shape_of(model_description(config)),
        round(tokens),
        round(sum(len(row.response) for row in rows) / len(ticks)),
        statistics.mean(lengths),
        recipe.lora_r,
    )
    return {
        "steps": len(ticks),
        "step_seconds": [round(each, 4) for each in seconds],
        "tokens_a_second": round(tokens / second),
        "tflops": round(flop / second / 1e12, 1),
        "peak_memory_gb": peak,
        "losses": [round(loss, 5) for loss in losses],
    }


def _ours(training: Training) -> None:
    with random_weights():
        ours(training.config, training.examples, training.recipe, training.out, 0, training.tick)


def _peft(training: Training) -> None:
    """The loop that one writes: padded rows, autocast, AdamW."""
    from peft import get_peft_model
    from transformers import set_seed

    from semievol.training.distributed import Turns

    rows, recipe = training.rows, training.recipe
    pad_token = load_tokenizer(training.config).pad_token_id
    model = made(training.config)
    device = model.device
    set_seed(0)
    adapted = get_peft_model(model, lora(recipe)).train()
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    warming = max(1, round(0.03 * len(rows) / recipe.per_device_train_batch_size))
    steps = len(rows) // recipe.per_device_train_batch_size
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / warming, (steps - step) / max(1, steps - warming))
    )
    for numbers in Turns(len(rows), recipe.per_device_train_batch_size, 1, 0, 1, 0):
        batch = [rows[number] for number in numbers]
        longest = max(row.length for row in batch)
        pad = [longest - row.length for row in batch]
        ids = [[*row.prompt, *row.response, *[pad_token] * n] for row, n in zip(batch, pad, strict=True)]
        labels = [[*[-100] * len(row.prompt), *row.response, *[-100] * n] for row, n in zip(batch, pad, strict=True)]
        mask = [[1] * row.length + [0] * n for row, n in zip(batch, pad, strict=True)]
        with torch.autocast(device.type, torch.bfloat16):
            loss = adapted(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                labels=torch.tensor(labels, device=device),
                use_cache=False,
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, recipe.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        training.tick(float(loss.detach()))


def _trl(training: Training, packed: bool = False) -> None:
    """As the installed TRL has it, but that no row is cut; packed, one pack is as many tokens as a step has else."""
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    tokenizer = load_tokenizer(training.config)
    longest = max(row.length for row in training.rows)
    together = training.recipe.per_device_train_batch_size
    trainer = SFTTrainer(
        model=made(training.config),
        args=SFTConfig(
            output_dir=str(training.out),
            num_train_epochs=1,
            learning_rate=training.recipe.learning_rate,
            per_device_train_batch_size=1 if packed else together,
            gradient_accumulation_steps=1,
            max_length=(together * longest if packed else None),
            packing=packed,
            use_cpu=resolve_device(training.config) == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataset_num_proc=None,
        ),
        train_dataset=Dataset.from_list([as_text(tokenizer, row) for row in training.examples]),
        processing_class=tokenizer,
        peft_config=lora(training.recipe),
        callbacks=[ticking(training.tick)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def lora(recipe: TrainingConfig) -> Any:
    """PEFT's config of a recipe."""
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=recipe.lora_r, lora_alpha=recipe.lora_alpha, target_modules="all-linear")


WAYS: dict[str, Way] = {"ours": _ours, "peft": _peft, "trl": _trl, "trl, packed": partial(_trl, packed=True)}
