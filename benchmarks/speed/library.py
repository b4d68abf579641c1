"""`transformers` as one uses it who knows it: sorted batches of a token budget, the adapter merged, loaded once."""

import copy
import gc
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from semievol.backends.transformers import batch_tokens
from semievol.models.loading import resolve_model
from semievol.models.quiet import quiet
from semievol.models.types import resolve_device
from semievol.records import Request, Response

from .plain import batch_of, by_temperature, chat, generate, scored
from .workloads import Workload, stage_of


class Tuned:
    """Two models in memory, the base and the merged one, in the type that ours uses."""

    def __init__(self, workload: Workload, options: dict[str, Any]) -> None:
        config = workload.config
        self.loading = 0.0
        self._folder, self._device = resolve_model(config.model), resolve_device(config.model)
        self._dtype = getattr(torch, config.model.dtype)
        self._adapter = workload.adapter
        self._budget = batch_tokens(config)
        self._tokenizer = AutoTokenizer.from_pretrained(self._folder)
        self._models: dict[str, Any] = {}

    def open(self) -> None:
        """Loads the base and merges the adapter into a copy."""
        started = time.perf_counter()
        with quiet():
            base = AutoModelForCausalLM.from_pretrained(self._folder, dtype=self._dtype).to(self._device).eval()
            warm = PeftModel.from_pretrained(copy.deepcopy(base), str(self._adapter)).merge_and_unload()
        self._models = {"base": base.requires_grad_(False), "warm": warm.requires_grad_(False)}
        self.loading = time.perf_counter() - started

    def close(self) -> None:
        """Frees both."""
        self._models = {}
        gc.collect()

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request]) -> list[Response]:
        """The responses, batch after batch, the longest first."""
        responses = []
        for weights, model in self._models.items():
            for asked in by_temperature(one for one in requests if one.weights == weights):
                for batch in self._batches(asked):
                    if stage_of(batch[0]) == "score":
                        responses += score(model, self._tokenizer, batch)
                    else:
                        responses += generate(model, self._tokenizer, batch, batch[0].sampling.max_tokens)
        return responses

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        """The longest requests first, so many that rows x longest stays within the budget that ours has."""

        def length(one: Request) -> int:
            given = one.sampling.max_tokens if one.response is None else 0
            text = chat(self._tokenizer, one) + (one.response or "")
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) + given

        waiting = sorted(((length(one), i) for i, one in enumerate(requests)), reverse=True)
        while waiting:
            count = max(1, self._budget // waiting[0][0])
            yield [requests[i] for _, i in waiting[:count]]
            waiting = waiting[count:]


def score(model: Any, tokenizer: Any, requests: Sequence[Request]) -> list[Response]:
    """H of one batch; the vocabulary is multiplied with the answers' positions alone."""
    inputs = batch_of(tokenizer, [chat(tokenizer, one) + (one.response or "") for one in requests])
    lengths = [len(tokenizer(one.response, add_special_tokens=False)["input_ids"]) for one in requests]
    logits = model(**inputs.to(model.device), logits_to_keep=max(lengths) + 1, use_cache=False).logits
    return [
        scored(
            one,
            int(inputs["attention_mask"][row].sum()) - length,
            logits[row, -length - 1 : -1],
            inputs["input_ids"][row, -length:],
        )
        for row, (one, length) in enumerate(zip(requests, lengths, strict=True))
    ]
