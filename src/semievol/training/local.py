"""Trains a LoRA adapter on this machine, with TRL and PEFT."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PrinterCallback, set_seed

from semievol.config import ModelConfig, TrainingConfig
from semievol.errors import TrainingError
from semievol.local.borrowed import State
from semievol.local.lora import fuse
from semievol.local.model import LocalModel, free_local_model, local_model
from semievol.local.passes import Work
from semievol.models.loading import load_template, model_limit
from semievol.models.quiet import out_of_memory, quiet
from semievol.models.types import resolve_device, resolve_dtype
from semievol.run_folder.files import readable_as
from semievol.run_folder.place import on_disk
from semievol.training import Progress, Trained, silent
from semievol.training.checkpoints import last_checkpoint, remove_checkpoints
from semievol.training.distributed import agreed, rank, spread, trained_weights, workers
from semievol.training.job import Job
from semievol.training.rows import Collator, tokenised
from semievol.training.sft import AnswerTrainer, Watch, arguments

EVENTS = "TENSORBOARD_LOGGING_DIR"
"""The environment variable that transformers reads."""
UNADAPTED = frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})
"""Model types whose `out_proj` PEFT refuses to adapt."""


class LocalTrainer:
    """SFT with LoRA in this process, alone or with others; on a CPU the same arguments give the same bytes."""

    def __init__(self) -> None:
        self.work = Work()

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        """An adapter trained on the job's examples, saved as safetensors; goes on from a checkpoint in its folder.

        Raises:
            TrainingError: nothing to train on, a row longer than the model, a loss that is not finite.
        """
        recipe, out = job.recipe, on_disk(job.out)
        # Optimizer states that are spread over processes are not kept.
        checkpoint = agreed(None if recipe.fsdp else last_checkpoint(out))
        if rank() == 0 and checkpoint is None:
            shutil.rmtree(out, ignore_errors=True)
        template = load_template(job.model)
        tokenizer = template.tokenizer
        rows = tokenised(template, job.examples, model_limit(job.model))
        device = resolve_device(job.model)
        seed = job.seed % 2**32  # the most that numpy's global generator takes
        model = job.model.model_copy(update={"dtype": agreed(resolve_dtype(job.model))})
        # What does not fit one GPU is loaded into the host's memory, and spread from there.
        base = model.model_copy(update={"device": "cpu"}) if recipe.fsdp else model
        watch = Watch(progress if rank() == 0 else silent, seed, keeps=not recipe.fsdp)
        advice = "set training.gradient_checkpointing, model.quantization or data.max_prompt_words"
        with (
            quiet(),
            events_in(out.parent / "tensorboard"),
            out_of_memory("training", advice),
            adapted_model(base, recipe, seed, job.start_from) as (local, adapted, state),
        ):
            if recipe.fsdp:
                if local.way.uneven:
                    raise TrainingError(
                        f"training.fsdp: {type(local.model).__name__} is computed in rows of one length, and workers "
                        "would take different numbers of passes; set training.fsdp to false"
                    )
                spread(adapted, device)
            trainer = AnswerTrainer(
                passes=lambda module: local.passes(module, self.work, tokenizer.pad_token_id),
                recipe=recipe,
                model=adapted,
                args=arguments(recipe, out, seed, device, model.dtype),
                train_dataset=Dataset.from_list([row.as_dict() for row in rows]),
                processing_class=tokenizer,
                data_collator=Collator(local.shares, min(rows, key=lambda row: row.length)),
                callbacks=[watch],
            )
            trainer.remove_callback(PrinterCallback)
            state.restore_pass()  # TRL has it compute losses of its own, of routers for instance
            trainer.train(resume_from_checkpoint=checkpoint)
            _save(adapted, out, model)
        tokens = recipe.num_train_epochs * sum(row.length for row in rows)
        return Trained(weights=str(out), steps=trainer.state.global_step, tokens=tokens, losses=tuple(watch.losses))


@contextmanager
def events_in(folder: Path) -> Iterator[None]:
    """A block in which TensorBoard's events go to a folder, and not among the weights; unless the user names one."""
    if EVENTS in os.environ:
        yield
        return
    os.environ[EVENTS] = str(folder)
    try:
        yield
    finally:
        del os.environ[EVENTS]


@contextmanager
def adapted_model(
    model: ModelConfig, recipe: TrainingConfig, seed: int, start_from: str | None
) -> Iterator[tuple[LocalModel, Any, State]]:
    """The base model, it with float32 LoRA weights, new ones or those of `start_from`, and what it was before.

    The base is the one that answers, and afterwards it is as it was.
    """
    local = local_model(model)
    local.use(None)
    local.forget()
    state = State(local.model)
    set_seed(seed)  # LoRA's own weights are drawn next; loading some models draws numbers too
    try:
        adapted = _with_adapter(local.model, recipe, start_from)
        fuse(adapted)
        yield local, adapted, state
        if recipe.gradient_checkpointing or workers() > 1:
            free_local_model()  # its hooks are in the way of answering, and other processes may hold a part of it
        else:
            local.model = adapted.unload()
            state.restore()
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
        exclude_modules=left_out(base) if modules == "all-linear" else None,
    )
    try:
        return get_peft_model(base, lora)
    except ValueError as error:
        raise TrainingError(f"training.lora_target_modules: {error}") from error


def left_out(base: Any) -> str | None:
    """A pattern of the names of linear layers that `all-linear` does not mean; `None` if it means all of them.

    Those that see no text, and those whose weights Mamba's kernels take without their layer: PEFT refuses them.
    """
    parts = []
    if base.config.get_text_config() is not base.config:
        parts.append(r".*(vision|visual|image|audio|multi_modal|mm_proj).*")
    if base.config.get_text_config().model_type in UNADAPTED:
        parts.append(r".*\.out_proj")
    return "|".join(parts) or None


def _save(adapted: Any, out: Path, model: ModelConfig) -> None:
    """Writes the adapter in place of the checkpoints, by the first process.

    It names its base as the config does, not by a folder of a machine.
    """
    weights = trained_weights(adapted)
    if rank():
        return
    remove_checkpoints(out)
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = model.name
        if isinstance(config.target_modules, set):
            config.target_modules = sorted(config.target_modules)  # a set's order differs between processes
    adapted.save_pretrained(str(out), state_dict=weights, safe_serialization=True, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card; the run writes its own
    readable_as(out / "adapter_config.json", *out.glob("*.safetensors"))
