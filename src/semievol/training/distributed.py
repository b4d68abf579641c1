"""What processes that train together share: the rows of each step, the weights, and what the first of them decides.

Whoever starts the processes has made torch's process group; without one, all of this is as for a process alone.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer

from semievol.errors import TrainingError

T = TypeVar("T")


def workers() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _grouped() else 1


def rank() -> int:
    """Which of them this one is; 0 saves, and tells how far the training has come."""
    return distributed.get_rank() if _grouped() else 0


def agreed(value: T) -> T:
    """What the first process says: a measurement of its own may come out differently in another one."""
    if not _grouped():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class Turns(Sampler[list[int]]):
    """The rows of each forward pass of this process.

    Steps hold the same rows as those of a process alone, shuffled anew in each epoch. All processes have equally many
    passes, for they wait for each other; in an epoch's last step some may be empty.

    Args:
        rows: how many there are.
        batch: most rows in a pass.
        passes: in each step but the last.
        workers: processes that train together.
        rank: which of them this one is.
    """

    def __init__(self, rows: int, batch: int, passes: int, seed: int, workers: int, rank: int) -> None:
        self._rows, self._seed, self._workers, self._rank = rows, seed, workers, rank
        self._together = batch * workers
        self._step = self._together * passes
        self._passes = passes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffles for this epoch from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self._rows, self._step)
        return full * self._passes + -(-rest // self._together)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed + self.epoch)
        order = torch.randperm(self._rows, generator=generator).tolist()
        for start in range(0, self._rows, self._together):
            yield order[start : start + self._together][self._rank :: self._workers]


class Turned(DataLoader[Any]):
    """Batches by turns; told the epoch by transformers' Trainer."""

    def set_epoch(self, epoch: int) -> None:
        """Shuffles for this epoch from now on."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


def spread(adapted: Any, device: str) -> None:
    """Spreads a model's weights over the processes (FSDP2): each layer is gathered while it computes.

    Trainer is told that the model looks after its gradients itself. Accelerate's own FSDP takes no CPUs, and computes
    and sums LoRA's gradients in the type of the base.

    Raises:
        TrainingError: this Trainer cannot be told.
    """
    if not hasattr(Trainer, "_defer_fsdp_gradient_reduction"):
        raise TrainingError("training.fsdp needs a newer transformers; pip install -U transformers")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.partition(":")[0], (workers(),))
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    base = adapted.get_base_model()
    classes = set(getattr(base, "_no_split_modules", None) or ())
    for module in list(base.modules()):
        if type(module).__name__ in classes:
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(adapted, mesh=mesh, mp_policy=policy)
    adapted.is_distributed_loading_by_transformers = True


def trained_weights(adapted: Any) -> dict[str, torch.Tensor]:
    """The weights that were trained, whole, by their names; every process has to ask."""
    return {
        name: weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        for name, weight in ((name, weight.detach()) for name, weight in adapted.named_parameters())
        if weight.requires_grad or "lora_" in name
    }
