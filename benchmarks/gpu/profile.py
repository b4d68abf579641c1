"""Where the card's time goes in our engine: the kernels of some training steps, and of some answering."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.answering import BUDGETS, engine
from benchmarks.gpu.model import random_weights
from benchmarks.gpu.work import Size, documents, long_rows, questions, short_rows
from benchmarks.speed.training import ours
from semievol.backends import open_backend
from semievol.config import ModelConfig, TrainingConfig

SHOWN = 25
"""Kernels that are named, those that take most first."""


def measure(config: ModelConfig, size: Size) -> dict[str, Any]:
    """Milliseconds on the card by kernel, of our engine alone."""
    found = {}
    with random_weights():
        for name, rows, together in (("long", long_rows(size), 1), ("short", short_rows(size), size.together)):
            recipe = TrainingConfig(
                num_train_epochs=1, per_device_train_batch_size=together, gradient_accumulation_steps=1
            )
            with tempfile.TemporaryDirectory() as out:
                ours(config, rows[: 2 * together], recipe, Path(out) / "warming", 0, lambda _: None)
                with profile(activities=_activities()) as seen:
                    ours(config, rows[: 3 * together], recipe, Path(out) / "adapter", 0, lambda _: None)
            found[f"training, {name}"] = _kernels(seen)
        backend = open_backend(engine(config, BUDGETS[-1]), {})
        for name, requests in (("scored", documents(size)), ("answered", questions(size))):
            some = requests[: max(2, len(requests) // 4)]
            list(backend.generate(some))
            with profile(activities=_activities()) as seen:
                list(backend.generate(some))
            found[name] = _kernels(seen)
    return found


def _activities() -> list[ProfilerActivity]:
    own = [ProfilerActivity.CPU]
    return [*own, ProfilerActivity.CUDA] if torch.cuda.is_available() else own


def _kernels(seen: Any) -> dict[str, Any]:
    """The kernels' milliseconds and calls; on a machine without a card, those of torch's operators."""
    on_card = torch.cuda.is_available()

    def spent(event: Any) -> float:
        return float(event.self_device_time_total if on_card else event.self_cpu_time_total) / 1e3

    events = [event for event in seen.key_averages() if not on_card or str(event.device_type).endswith("CUDA")]
    events.sort(key=spent, reverse=True)
    return {
        "milliseconds": round(sum(map(spent, events)), 1),
        "kernels": [[event.key[:160], round(spent(event), 2), event.count] for event in events[:SHOWN]],
    }
