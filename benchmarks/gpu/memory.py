"""The table of `docs/gpu.md` that says what a training takes, by arithmetic: `python -m benchmarks.gpu.memory`."""

import tempfile
from pathlib import Path

from benchmarks.gpu.model import written
from benchmarks.gpu.table import PAGE
from benchmarks.pages import write_part
from semievol.config import ModelConfig, TrainingConfig
from semievol.forecast.memory import GB, Load, ModelShape, shape_of

PART = "gpu memory"
"""Of that page."""
MODELS = {"1B": "Llama-3.2-1B", "8B": "Llama-3.1-8B", "70B": "Llama-3.1-70B"}
TOKENS, ANSWERS = 2048, 256
"""Of the longest training row, and of its response."""
CARDS = (16, 24, 48, 80)
"""Gigabytes of the cards that people have."""
SETTINGS = {
    "as it comes": (None, False),
    "`gradient_checkpointing`": (None, True),
    "`nf4`": ("nf4", False),
    "both": ("nf4", True),
}


def made() -> str:
    """A row for each model, a column for each setting."""
    lines = [
        f"| GB at most, rows of {TOKENS:,} tokens, {ANSWERS} of them the response | {' | '.join(SETTINGS)} |",
        f"|---|{'---:|' * len(SETTINGS)}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, title in MODELS.items():
            model = written(name, Path(folder) / name)
            shape = shape_of(model)
            lines.append(f"| {title} | {' | '.join(_cell(model, shape, *setting) for setting in SETTINGS.values())} |")
    return "\n".join(lines)


def _cell(model: ModelConfig, shape: ModelShape, quantization: str | None, checkpointing: bool) -> str:
    """What a setting takes, and the smallest card that has it."""
    recipe = TrainingConfig(per_device_train_batch_size=1, batch_tokens=1, gradient_checkpointing=checkpointing)
    load = Load(model.model_copy(update={"quantization": quantization}), recipe, TOKENS, ANSWERS)
    need = load.most(shape) / GB
    card = next((f" ({size})" for size in CARDS if need < size), "")
    return f"{need:.1f}{card}"


if __name__ == "__main__":
    write_part(PAGE, PART, made())
