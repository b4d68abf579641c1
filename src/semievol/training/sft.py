"""TRL's trainer, told to learn from answers alone.

The loss is computed here: a batch is a tree of tokens, as in answering, and TRL knows no weights of examples.
"""

import logging
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from semievol.config import TrainingConfig
from semievol.errors import Stopped, TrainingError
from semievol.local.borrowed import train_adapter_alone
from semievol.local.passes import Passes, answer_logits
from semievol.models.quiet import is_out_of_memory, release_memory
from semievol.training import Progress
from semievol.training.checkpoints import EVERY, load_weights, save_weights
from semievol.training.distributed import Turned, Turns, agreed, rank, workers
from semievol.training.rows import TokenisedRow

_log = logging.getLogger(__name__)


def arguments(recipe: TrainingConfig, out: Path, seed: int, device: str, dtype: str) -> SFTConfig:
    """The recipe as TRL takes it: checkpoints when `Watch` says so, no truncation, every step's loss logged."""
    batch, passes = recipe.batches_of(workers())
    if workers() == 1:  # a step's rows come at once, see `AnswerTrainer.training_step`
        batch, passes = batch * passes, 1
    config = SFTConfig(
        output_dir=str(out),
        run_name=f"{out.parent.parent.name}-{out.parent.name}",  # of the run and its stage
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
        save_total_limit=1,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # the only way to keep Trainer from torch.nn.DataParallel, which TRL refuses
    if device.startswith("cuda:"):  # it takes the first one otherwise
        torch.cuda.set_device(device)
        config.__dict__["_setup_devices"] = torch.device(device)  # a cached property
    return config


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """SFT whose loss is the mean over the batch's answer tokens of weight x negative log-likelihood."""

    def __init__(self, passes: Callable[[Any], Passes], recipe: TrainingConfig, **arguments: Any) -> None:
        values = [(weight, weight.data) for weight in arguments["model"].parameters() if weight.requires_grad]
        super().__init__(**arguments)
        for weight, value in values:  # TRL rounds an adapter to bfloat16 if its base is quantised
            weight.data = value
        self._passes = passes
        self._least_rows: int = recipe.batches_of(workers())[0]
        self._pass_tokens = recipe.pass_tokens
        self._most_rows: int = self.args.per_device_train_batch_size
        """In one pass; fewer once memory has not sufficed."""
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

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """Writes none: a checkpoint is for nobody to read."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The weights of a checkpoint."""
        save_weights(self.model, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Takes the weights of a checkpoint."""
        load_weights(self.model, Path(resume_from_checkpoint))

    def get_train_dataloader(self) -> Turned:
        """The batches of this process."""
        args = self.args
        batch, passes = args.per_device_train_batch_size, args.gradient_accumulation_steps
        turns = Turns(len(self.train_dataset), batch, passes, args.data_seed, workers(), rank())
        pinned = args.dataloader_pin_memory
        return Turned(self.train_dataset, batch_sampler=turns, collate_fn=self.data_collator, pin_memory=pinned)

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The rows of a batch forward and backward, in as few passes as `training.batch_tokens` and memory allow.

        The gradients are the sum of those of the passes: losses are divided by the answer tokens of the whole step.
        """
        losses, left = [], list(inputs["batch"].rows)
        while left:
            count = self._rows_of_pass(left)
            part = inputs if count == len(inputs["batch"].rows) else self.data_collator.batch(left[:count])
            loss = self._pass(model, part, num_items_in_batch)
            if loss is not None:
                losses.append(loss)
                left = left[count:]
        return torch.stack(losses).sum()

    def _rows_of_pass(self, rows: Sequence[TokenisedRow]) -> int:
        """How many of these rows are computed together."""
        if workers() > 1:  # the others take as many passes
            return len(rows)
        fitting = bisect_right(list(accumulate(row.length for row in rows)), self._pass_tokens)
        return min(max(self._least_rows, fitting), self._most_rows, len(rows))

    def _pass(self, model: Any, inputs: dict[str, Any], tokens: torch.Tensor | None) -> torch.Tensor | None:
        """The loss, its gradients added; `None` if memory does not suffice and might for fewer rows: none are then."""
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        before = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        rows = len(inputs["batch"].rows)
        try:
            loss: torch.Tensor = super().training_step(model, inputs, tokens)
        except RuntimeError as error:
            if not is_out_of_memory(error) or rows == 1 or workers() > 1:  # the others would take fewer passes
                raise
        else:
            return loss
        for weight, gradient in zip(weights, before, strict=True):
            weight.grad = gradient
        release_memory()
        self._most_rows = (rows + 1) // 2
        _log.warning(
            "training: memory does not suffice for %d rows at once; going on with at most %d, in the same steps",
            rows,
            self._most_rows,
        )
        return None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean over the answers' tokens of cross-entropy times the row's weight; those of all processes' rows."""
        train_adapter_alone(model)
        logits = torch.cat(answer_logits(self._passes(model), inputs["batch"]))  # (answer tokens, V)
        answers, weights = inputs["labels"][1:], inputs["weights"]
        losses = cross_entropy(logits, answers, reduction="none")
        total: torch.Tensor = (losses * weights).sum()
        # Gradients and logged losses are averaged over the processes; the tokens are those of all of them.
        return workers() * total / (len(answers) if num_items_in_batch is None else num_items_in_batch)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports each step, has checkpoints made, and stops a training that diverges.

    Args:
        keeps: whether there are checkpoints.
    """

    def __init__(self, progress: Progress, seed: int, keeps: bool) -> None:
        self._progress = progress
        self._seed = seed
        self._keeps = keeps
        self._saved = time.monotonic()
        self._stopped: Stopped | None = None
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        """Takes the losses of steps that were made before, and draws each process' dropout differently."""
        self.losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        self._saved = time.monotonic()
        if rank():  # their first weights are drawn, and alike
            torch.manual_seed(self._seed + rank())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **unused: Any) -> None:
        """Reports a step.

        Raises:
            TrainingError: the loss is not finite.
            Stopped: the user asked to stop.
        """
        if "loss" not in logs:  # the summary at the end
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {state.global_step} of {state.max_steps}; lower training.learning_rate"
            )
        self.losses.append(loss)
        stop_error = None
        try:
            self._progress(state.global_step, state.max_steps, loss)
        except Stopped as error:
            stop_error = error
        is_due = time.monotonic() - self._saved > EVERY
        self._stopped, is_due = agreed((stop_error, is_due))  # all processes save and end at the same step
        control.should_save = self._keeps and (is_due or self._stopped is not None)
        if self._stopped is not None and not self._keeps:
            raise self._stopped

    def on_save(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        """Ends a training whose last step is saved.

        Raises:
            Stopped: the user asked to stop.
        """
        self._saved = time.monotonic()
        if self._stopped is not None:
            raise self._stopped
