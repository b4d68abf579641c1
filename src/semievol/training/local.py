"""Trains a LoRA adapter on this machine, with TRL and PEFT.

Chats are tokenised here and not by TRL, which trains on whatever the chat template writes after the answer, a line
break for instance, and would tokenise prompt and answer in one piece; the backend sees neither. The loss is computed
here too: a batch is a tree of tokens, as in answering, and TRL knows no weights of examples.
"""

import dataclasses
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from semievol.config import ModelConfig, TrainingConfig
from semievol.errors import Stopped, TrainingError
from semievol.local.batches import Tokens, tree
from semievol.local.lora import fuse
from semievol.local.model import LocalModel, free_local_model, local_model
from semievol.local.passes import Passes, Work, answer_logits
from semievol.models import (
    end_of_turn,
    load_tokenizer,
    model_limit,
    out_of_memory,
    prompt_ids,
    quiet,
    resolve_device,
    resolve_dtype,
    response_ids,
)
from semievol.records import TrainingExample
from semievol.training import Trained, silent
from semievol.training.distributed import Turned, Turns, agreed, rank, spread, trained_weights, workers


@dataclass(frozen=True, slots=True)
class Row:
    """A training example in tokens."""

    prompt: Tokens
    response: Tokens
    """The answer and the end of the turn."""
    weight: float

    @property
    def kind(self) -> tuple[str, bool, int]:
        """Any two rows can share a batch."""
        return "", True, 0

    def as_dict(self) -> dict[str, Any]:
        """The columns of the training set."""
        return {"prompt_ids": self.prompt, "response_ids": self.response, "weight": self.weight}

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt) + len(self.response)


class LocalTrainer:
    """SFT with LoRA in this process, alone or with others; on a CPU the same arguments give the same bytes."""

    def __init__(self) -> None:
        self.work = Work()

    def train(
        self,
        model: ModelConfig,
        examples: Sequence[TrainingExample],
        recipe: TrainingConfig,
        out: Path,
        seed: int,
        start_from: str | None = None,
        progress: Callable[[int, int, float | None], None] = lambda step, steps, loss: None,
    ) -> Trained:
        """An adapter trained on `examples`, saved under `out` as safetensors.

        Raises:
            TrainingError: nothing to train on, a row longer than the model, a loss that is not finite.
        """
        if rank() == 0:
            shutil.rmtree(out, ignore_errors=True)  # of a killed training: it is one unit of work and starts again
        tokenizer = load_tokenizer(model)
        rows = tokenised(tokenizer, examples, model_limit(model))
        device = resolve_device(model)
        if device.startswith("cuda:") and device != "cuda:0":
            raise TrainingError(
                f"model.device: training runs on the first visible GPU, not on {device}; "
                f"set CUDA_VISIBLE_DEVICES={device[5:]} and model.device cuda"
            )
        seed %= 2**32  # the most that numpy's global generator takes
        set_seed(seed)  # LoRA's own weights are drawn next
        model = model.model_copy(update={"dtype": agreed(resolve_dtype(model))})
        # What does not fit one GPU is loaded into the host's memory, and spread from there.
        base = model.model_copy(update={"device": "cpu"}) if recipe.fsdp else model
        watch = _Watch(progress if rank() == 0 else silent, seed)
        advice = "lower training.per_device_train_batch_size or set training.gradient_checkpointing"
        with quiet(), out_of_memory("training", advice), adapted_model(base, recipe, start_from) as (held, adapted):
            if recipe.fsdp:
                spread(adapted, device)
            trainer = _AnswerTrainer(
                passes=lambda module: held.passes(module, self.work, tokenizer.pad_token_id),
                model=adapted,
                args=arguments(recipe, out, seed, device, model.dtype),
                train_dataset=Dataset.from_list([row.as_dict() for row in rows]),
                processing_class=tokenizer,
                data_collator=_Collator(held.shares, min(rows, key=lambda row: row.length)),
                callbacks=[watch],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            _save(adapted, out, model)
        tokens = recipe.num_train_epochs * sum(row.length for row in rows)
        return Trained(weights=str(out), steps=trainer.state.global_step, tokens=tokens, losses=tuple(watch.losses))


def tokenised(tokenizer: Any, examples: Sequence[TrainingExample], limit: int) -> list[Row]:
    """The tokens of each chat: the backend's prompt, the answer, the end of the turn.

    Raises:
        TrainingError: there are no examples, or one is longer than `limit` or has an impossible weight.
    """
    if not examples:
        raise TrainingError("there are no examples to train on")
    end = end_of_turn(tokenizer)
    rows = []
    for example in examples:
        if not (math.isfinite(example.weight) and example.weight >= 0):
            raise TrainingError(f"example {example.id}: the weight {example.weight} is not a number of at least 0")
        prompt = prompt_ids(tokenizer, example.messages)
        row = Row(tuple(prompt), (*response_ids(tokenizer, example.response), end), example.weight)
        if row.length > limit:
            raise TrainingError(
                f"example {example.id}: {row.length} tokens, and the model takes {limit}; "
                "shorten the prompts with data.max_prompt_words"
            )
        rows.append(row)
    return rows


@contextmanager
def adapted_model(
    model: ModelConfig, recipe: TrainingConfig, start_from: str | None
) -> Iterator[tuple[LocalModel, Any]]:
    """The base model, and it with float32 LoRA weights, new ones or those of `start_from`.

    The base is the one that answers, and afterwards it is as it was.
    """
    held = local_model(model)
    held.use(None)
    held.forget()
    try:
        adapted = _with_adapter(held.model, recipe, start_from)
        fuse(adapted)
        yield held, adapted
        if recipe.gradient_checkpointing or workers() > 1:
            free_local_model()  # its hooks are in the way of answering, and other processes may hold a part of it
        else:
            held.model = adapted.unload().eval().requires_grad_(False)
    except BaseException:
        free_local_model()  # its layers may still be LoRA's
        raise


def _with_adapter(base: Any, recipe: TrainingConfig, start_from: str | None) -> Any:
    if start_from is not None:
        if not (Path(start_from) / "adapter_config.json").is_file():
            raise TrainingError(f"{start_from} holds no PEFT adapter to start from")
        return PeftModel.from_pretrained(base, start_from, is_trainable=True)
    modules = recipe.lora_target_modules
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
    )
    try:
        return get_peft_model(base, lora)
    except ValueError as error:
        raise TrainingError(f"training.lora_target_modules: {error}") from error


def arguments(recipe: TrainingConfig, out: Path, seed: int, device: str, dtype: str) -> SFTConfig:
    """The recipe as TRL takes it: no checkpoints, no progress bars, no truncation, every step's loss logged."""
    batch, passes = recipe.batches_of(workers())
    config = SFTConfig(
        output_dir=str(out),
        num_train_epochs=recipe.num_train_epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler_type,
        warmup_steps=recipe.warmup_ratio,  # below 1 it is a share of all steps
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=passes,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        gradient_checkpointing=recipe.gradient_checkpointing,
        report_to=list(recipe.report_to) or "none",
        seed=seed,
        data_seed=seed,
        # Autocast computes LoRA's products in the base's type, its weights staying float32: with eager attention 1.3 to
        # 1.5 times faster on a CPU.
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        use_cpu=device == "cpu",
        dataloader_pin_memory=device.startswith("cuda"),
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # the only way to keep Trainer from torch.nn.DataParallel, which TRL refuses
    return config


class _AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """SFT whose loss is the mean over the batch's answer tokens of weight x negative log-likelihood."""

    def __init__(self, passes: Callable[[Any], Passes], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._passes = passes
        self.model_accepts_loss_kwargs = True  # the loss below is normalised over all accumulated batches

    def _send_telemetry(self) -> None:
        """Sends nothing: TRL would tell its authors what is trained."""

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Sums gradients over the processes once a step; Trainer's own wants a config that `spread` does not make."""
        self.model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.model.set_requires_gradient_sync(True)

    def get_train_dataloader(self) -> Turned:
        """The batches of this process."""
        args = self.args
        batch, passes = args.per_device_train_batch_size, args.gradient_accumulation_steps
        turns = Turns(len(self.train_dataset), batch, passes, args.data_seed, workers(), rank())
        pinned = args.dataloader_pin_memory
        return Turned(self.train_dataset, batch_sampler=turns, collate_fn=self.data_collator, pin_memory=pinned)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        logits = torch.cat(answer_logits(self._passes(model), inputs["batch"]))  # (answer tokens, V)
        answers, weights = inputs["labels"][1:], inputs["weights"]
        losses = cross_entropy(logits, answers, reduction="none")
        total: torch.Tensor = (losses * weights).sum()
        # Gradients and logged losses are averaged over the processes; the tokens are those of all of them.
        return workers() * total / (len(answers) if num_items_in_batch is None else num_items_in_batch)


class _Collator:
    """Batches of rows, with the answers' tokens and weights in the order of the batch.

    Args:
        share: whether prompts may share their beginnings.
        blank: the row that an empty batch computes, for the other processes' sake; it counts for nothing.
    """

    def __init__(self, share: bool, blank: Row) -> None:
        self._share = share
        self._blank = dataclasses.replace(blank, weight=0.0)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        real = [Row(tuple(r["prompt_ids"]), tuple(r["response_ids"]), r["weight"]) for r in rows]
        batch = tree(real or [self._blank], share=self._share)
        weights = [row.weight for row in batch.rows for _ in row.response]
        return {
            "input_ids": torch.tensor([token for row in batch.rows for token in (*row.prompt, *row.response)]),
            # Trainer counts answer tokens from the second label on, taking the first for a token without a prediction.
            "labels": torch.tensor([-100, *(token if real else -100 for row in batch.rows for token in row.response)]),
            "weights": torch.tensor(weights),
            "batch": batch,
        }


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Reports each step and stops a training that diverges."""

    def __init__(self, progress: Callable[[int, int, float | None], None], seed: int) -> None:
        self._progress = progress
        self._seed = seed
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        if rank():  # dropout differs from process to process; their first weights do not
            torch.manual_seed(self._seed + rank())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **unused: Any) -> None:
        if "loss" not in logs:  # the summary at the end
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {state.global_step} of {state.max_steps}; lower training.learning_rate"
            )
        self.losses.append(loss)
        stopped = None
        try:
            self._progress(state.global_step, state.max_steps, loss)
        except Stopped as error:
            stopped = error
        if (stopped := agreed(stopped)) is not None:  # all processes end at the same step
            raise stopped


def _save(adapted: Any, out: Path, model: ModelConfig) -> None:
    """Writes the adapter, by the first process; it names its base as the config does, not by a folder of a machine."""
    weights = trained_weights(adapted)
    if rank():
        return
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = model.name
        if isinstance(config.target_modules, set):
            config.target_modules = sorted(config.target_modules)  # a set's order differs between processes
    adapted.save_pretrained(str(out), state_dict=weights, safe_serialization=True, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card; the run writes its own
