"""Where a training goes on that was stopped or killed: the last of its checkpoints.

    <out>/checkpoint-120/   the trained weights, the optimizer, the schedule, random numbers, and the steps' losses

transformers' Trainer writes and reads them; the weights are ours alone. They lie there until the training has ended.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import TrainerState

from semievol.training.distributed import trained_weights

EVERY = 300.0
"""Seconds between two checkpoints; one more is written if the user stops the training."""

_WEIGHTS = "trained.safetensors"
_LAST_WRITTEN = "trainer_state.json"


def last_checkpoint(out: Path) -> str | None:
    """The latest checkpoint below `out` that is whole."""
    by_step = {int(path.name.partition("-")[2]): path for path in out.glob("checkpoint-*") if _is_whole(path)}
    return str(by_step[max(by_step)]) if by_step else None


def _is_whole(path: Path) -> bool:
    """Whether the file that is written last is there, and whole."""
    try:
        TrainerState.load_from_json(str(path / _LAST_WRITTEN))
    except (OSError, json.JSONDecodeError):
        return False
    return True


def remove_checkpoints(out: Path) -> None:
    """Removes all of them, begun ones too."""
    for path in out.glob("checkpoint-*"):
        shutil.rmtree(path)


def save_weights(adapted: Any, folder: Path) -> None:
    """Writes the weights that are trained."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.contiguous() for name, weight in trained_weights(adapted).items()}, folder / _WEIGHTS)


def load_weights(adapted: Any, folder: Path) -> None:
    """Gives a model the weights that `save_weights` wrote."""
    saved = load_file(folder / _WEIGHTS)
    for name, weight in adapted.named_parameters():
        if name in saved:
            weight.data.copy_(saved[name])
