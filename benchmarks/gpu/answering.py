"""Prompts a second: scored without anything shared, and answered with a shared instruction."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.model import free, made, peak_gb, random_weights, synchronize
from benchmarks.gpu.work import Size, documents, questions
from benchmarks.pages import ROOT
from benchmarks.speed import plain
from benchmarks.speed.limit import forward_flop, shape_of
from semievol import load
from semievol.backends import Backend, open_backend
from semievol.config import Config, ModelConfig
from semievol.models.loading import load_template, load_tokenizer, model_description
from semievol.records import Request, Response

BUDGETS = (4096, 16384)
"""Values of `backend.batch_tokens` that are tried."""
SCORED_TOGETHER = 8
"""Rows that the plain way scores at once."""
GENERATED_TOGETHER = 64
"""Rows that `generate` is given at once."""


def measure(config: ModelConfig, size: Size, *, ours_alone: bool = False) -> dict[str, Any]:
    """Prompt tokens a second and peak memory of our engine and of plain transformers on the same requests."""
    scoring, asking = documents(size), questions(size)
    found: dict[str, Any] = {"scored": {}, "answered": {}}
    with random_weights():
        for budget in BUDGETS:
            backend = open_backend(engine(config, budget), {})
            for kind, requests in (("scored", scoring), ("answered", asking)):
                found[kind][f"ours, {budget} tokens"] = timed(partial(_answers, backend), requests, config)
    if not ours_alone:
        found["scored"]["plain"], found["answered"]["generate"] = _plain(config, scoring, asking)
        free()
    return found


def _answers(backend: Backend, requests: Sequence[Request]) -> list[Response]:
    return list(backend.generate(requests))


def _plain(
    config: ModelConfig, scoring: Sequence[Request], asking: Sequence[Request]
) -> tuple[dict[str, Any], dict[str, Any]]:
    model, tokenizer = made(config), load_tokenizer(config)

    def generated(rows: Sequence[Request]) -> list[Response]:
        most = rows[0].sampling.max_tokens
        batches = [rows[start : start + GENERATED_TOGETHER] for start in range(0, len(rows), GENERATED_TOGETHER)]
        return [answer for batch in batches for answer in plain.generate(model, tokenizer, batch, most)]

    scored = timed(lambda rows: plain_scores(model, config, rows), scoring, config)
    return scored, timed(generated, asking, config)


def engine(config: ModelConfig, budget: int) -> Config:
    """The config of a run with this model, of which only the engine's options matter."""
    path = ROOT / "configs" / "demo.yaml"
    config_of_run = load(path, [f"backend.batch_tokens={budget}"])
    return config_of_run.model_copy(update={"model": config})


def timed(
    answer: Callable[[Sequence[Request]], list[Response]], requests: Sequence[Request], config: ModelConfig
) -> dict[str, Any]:
    """The second of two runs; the first is over a few requests."""
    answer(requests[: max(2, len(requests) // 8)])
    free()
    synchronize()
    started = time.perf_counter()
    responses = answer(requests)
    synchronize()
    seconds = time.perf_counter() - started
    prompts = sum(each.prompt_tokens for each in responses)
    new = sum(each.completion_tokens for each in responses)
    shape = shape_of(model_description(config))
    flop = forward_flop(shape, prompts + new, new, (prompts + new) / len(responses))
    return {
        "seconds": round(seconds, 3),
        "prompt_tokens": prompts,
        "answer_tokens": new,
        "prompt_tokens_a_second": round(prompts / seconds),
        "answers_a_second": round(len(responses) / seconds, 1),
        "tflops": round(flop / seconds / 1e12, 1),
        "peak_memory_gb": peak_gb(),
    }


def plain_scores(model: Any, config: ModelConfig, requests: Sequence[Request]) -> list[Response]:
    """What a program with plain transformers does: rows padded on the left, the logits of the answers alone."""
    template = load_template(config)
    found = []
    for start in range(0, len(requests), SCORED_TOGETHER):
        some = requests[start : start + SCORED_TOGETHER]
        prompts = [template.prompt(each.messages) for each in some]
        answers = [list(template.answer(each.response or "")) for each in some]
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        longest = max(map(len, rows))
        pad = template.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
        keep = max(map(len, answers)) + 1
        with torch.inference_mode():
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
                logits_to_keep=keep,
                use_cache=False,
            ).logits
        for request, prompt, answer, own in zip(some, prompts, answers, logits, strict=True):
            given = torch.tensor(answer, device=model.device)
            found.append(plain.scored(request, len(prompt), own[-len(answer) - 1 : -1], given))
    return found
