"""Where a model computes, and in which type its weights are. Importing this module does not load torch."""

import functools
import time

from semievol.config import ModelConfig

BFLOAT16_GAIN = 1.3
"""How many times faster than float32 bfloat16 must be on a CPU to be chosen. With AVX512-BF16 it is 2 to 3 times
faster; a CPU without such instructions emulates it and is slower."""


def resolve_device(config: ModelConfig) -> str:
    """The torch device that `model.device` stands for."""
    import torch

    if config.device != "auto":
        return config.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_dtype(config: ModelConfig) -> str:
    """The type of the weights: `float32`, `bfloat16` or `float16`.

    On a CPU `auto` is measured, so two runs of one machine may differ; record the result and set it on resume.
    """
    import torch

    if config.dtype != "auto":
        return config.dtype
    device = resolve_device(config)
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.startswith("mps"):
        return "bfloat16" if torch.backends.mps.is_macos_or_newer(14, 0) else "float32"
    return "bfloat16" if _bfloat16_gain() >= BFLOAT16_GAIN else "float32"


@functools.lru_cache(maxsize=1)
def _bfloat16_gain() -> float:
    """How many times faster than float32 a bfloat16 matrix product is on this CPU; takes about 0.1 s."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        left = torch.ones(512, 1024, dtype=dtype)
        right = torch.ones(1024, 1024, dtype=dtype)
        best = float("inf")
        for _ in range(7):
            start = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - start)
        return best

    return seconds(torch.float32) / seconds(torch.bfloat16)
