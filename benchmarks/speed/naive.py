"""What the paper's program amounts to with plain libraries.

A pass for each collaborator, its model and adapter loaded for it; batches of 8 in the order of the rows; LoRA layers
beside the weights; the type that `from_pretrained` gives; every position multiplied with the vocabulary for H. Kinder
than the paper's program in two places: answers end at the end of the turn, and after `naive_tokens` at the latest,
where that program goes on to 1,024.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from semievol.config import ModelConfig
from semievol.models.loading import resolve_model
from semievol.models.quiet import quiet
from semievol.models.types import resolve_device
from semievol.records import Request, Response

from .plain import batch_of, by_temperature, chat, generate, scored
from .workloads import Workload, stage_of

BATCH = 8


class Naive:
    """One pass after another."""

    def __init__(self, workload: Workload, options: dict[str, Any]) -> None:
        self._config = workload.config
        self._adapters = {"warm": str(workload.adapter)}
        self._cap: int | None = options.get("naive_tokens")
        self.loading = 0.0

    def open(self) -> None:
        """Nothing is loaded once."""
        self.loading = 0.0

    def close(self) -> None:
        """Nothing is left to free."""

    def answer(self, requests: Sequence[Request]) -> list[Response]:
        """The responses, pass after pass."""
        return list(respond(self._config.model, self._adapters, requests, self._cap, self._loaded))

    def _loaded(self, seconds: float) -> None:
        self.loading += seconds


def respond(
    model: ModelConfig,
    adapters: Mapping[str, str],
    requests: Sequence[Request],
    cap: int | None,
    loaded: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Response]:
    """The responses, batch after batch of one pass after another.

    Args:
        adapters: where the weights lie that requests name.
        cap: the longest answer in tokens; what each request says if it is not set.
        loaded: told how long each loading of the weights took.
    """
    folder, device = resolve_model(model), resolve_device(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for asked in passes(requests):
        started = time.perf_counter()
        network = load(folder, adapters.get(asked[0].weights), device)
        loaded(time.perf_counter() - started)
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            with torch.inference_mode():
                if stage_of(batch[0]) == "score":
                    responses = score(network, tokenizer, batch)
                else:
                    responses = generate(network, tokenizer, batch, cap or batch[0].sampling.max_tokens)
            yield from responses
        del network
        gc.collect()


def load(folder: str, adapter: str | None, device: str) -> Any:
    """The model with its adapter beside the weights, in the type that the library chooses."""
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter)
        return model.to(device).eval()


def passes(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """The requests of each collaborator in the order of the rows; justifications and scores are one pass each."""
    crews: dict[tuple[str, str], list[Request]] = {}
    for one in requests:
        crews.setdefault((one.id.rpartition("/")[2], one.weights), []).append(one)
    for crew in crews.values():
        yield from by_temperature(crew)


def score(model: Any, tokenizer: Any, requests: Sequence[Request]) -> list[Response]:
    """H of one batch from the logits of every position."""
    prompts = [chat(tokenizer, one) for one in requests]
    inputs = batch_of(tokenizer, [p + (one.response or "") for p, one in zip(prompts, requests, strict=True)])
    logits = model(**inputs.to(model.device)).logits  # (B, T, V)
    responses = []
    for row, one in enumerate(requests):
        length = len(tokenizer(one.response, add_special_tokens=False)["input_ids"])
        answer = inputs["input_ids"][row, -length:]
        before = logits[row, -length - 1 : -1]
        responses.append(scored(one, int(inputs["attention_mask"][row].sum()) - length, before, answer))
    return responses
