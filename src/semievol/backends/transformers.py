"""Answers with transformers in this process, on whatever device there is.

One base model is in memory. An adapter is merged into it while its requests are answered, which is twice as fast on
a CPU as LoRA layers beside the weights, and the base's own weights are put back afterwards, bit for bit.

Requests with the same prompt share its computation; those that share only a prefix do not: use vLLM where that
matters.
"""

import gc
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from semievol.backends.sampling import draw
from semievol.config import Config
from semievol.errors import BackendError, ConfigError
from semievol.models import (
    end_of_turn,
    load_model,
    load_tokenizer,
    model_limit,
    out_of_memory,
    prompt_ids,
    quiet,
    response_ids,
)
from semievol.records import Request, Response


@dataclass(frozen=True, slots=True)
class _Row:
    """A request in tokens."""

    request: Request
    prompt: list[int]
    response: list[int]
    """The given response of a request that is scored."""

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the longest response it may get."""
        return len(self.prompt) + (
            self.request.sampling.max_tokens if self.request.response is None else len(self.response)
        )

    @property
    def kind(self) -> tuple[str, bool, int]:
        """Rows of one kind can share a batch."""
        scored = self.request.response is not None
        return self.request.weights, scored, 0 if scored else self.request.sampling.max_tokens


class TransformersBackend:
    """One base model in memory, and adapters that are merged into it in turn."""

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        self._config = config
        self._folders = dict(weights)
        self._tokenizer: Any = None
        self._limit: int | None = None
        self._stops: frozenset[int] = frozenset()
        self._model: Any = None
        self._active = "base"
        self._originals: list[tuple[torch.nn.Linear, torch.Tensor]] = []

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each request that is not `finished`, batch after batch, the longest prompts first."""
        rows = [self._row(request) for request in requests]
        fitting = []
        for row in rows:
            if row.length <= self.max_length():
                fitting.append(row)
            elif row.request.id not in finished:
                yield self._too_long(row)
        for batch in batches(fitting, self._config.backend.batch_tokens):
            if all(row.request.id in finished for row in batch):
                continue
            if stop():
                return
            self._load()
            advice = "lower backend.batch_tokens or collaborate.max_tokens"
            self._use(batch[0].request.weights)
            with out_of_memory(f"a batch of {len(batch)} prompts", advice), torch.inference_mode():
                scored = batch[0].request.response is not None
                responses = self._score(batch) if scored else self._generate(batch)
            yield from (response for response in responses if response.id not in finished)

    def prompt_tokens(self, request: Request) -> int:
        """Number of tokens of the request's prompt, its given response included; loads no weights."""
        row = self._row(request)
        return len(row.prompt) + len(row.response)

    def max_length(self) -> int:
        """The most tokens that prompt and response may have together; loads no weights."""
        if self._limit is None:
            self._limit = model_limit(self._config.model)
        return self._limit

    def close(self) -> None:
        """Frees the model; the next request loads it again."""
        self._model, self._originals, self._active = None, [], "base"
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _row(self, request: Request) -> _Row:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._config.model)
        given = [] if request.response is None else response_ids(self._tokenizer, request.response)
        return _Row(request, prompt_ids(self._tokenizer, request.messages), given)

    def _too_long(self, row: _Row) -> Response:
        reason = (
            f"{len(row.prompt)} prompt tokens and up to {row.length - len(row.prompt)} of the response "
            f"do not fit in the model's {self.max_length()}"
        )
        return Response(row.request.id, "", None, "error", len(row.prompt), 0, reason)

    def _load(self) -> None:
        if self._model is not None:
            return
        self._model = load_model(self._config.model)
        ends = self._model.generation_config.eos_token_id
        ends = [*(ends if isinstance(ends, list) else [ends]), end_of_turn(self._tokenizer)]
        self._stops = frozenset(end for end in [*ends, self._tokenizer.eos_token_id] if end is not None)

    def _use(self, weights: str) -> None:
        """Puts the named weights in the model's place."""
        if weights == self._active:
            return
        for layer, original in self._originals:
            layer.weight.data = original.to(layer.weight.device)
        self._originals, self._active = [], "base"
        if weights == "base":
            return
        if weights not in self._folders:
            raise BackendError(f"no weights named {weights!r}; there are {', '.join(['base', *self._folders])}")
        folder = Path(self._folders[weights])
        if not (folder / "adapter_config.json").is_file():
            raise ConfigError(f"weights {weights!r}: {folder} holds no PEFT adapter")
        try:
            with quiet(), torch.no_grad(), out_of_memory(f"merging {folder}", "bfloat16 halves the weights"):
                self._model, self._originals = merge_adapter(self._model, folder)
        except BaseException:
            self.close()  # it may be merged in part
            raise
        self._active = weights

    def _generate(self, batch: Sequence[_Row]) -> list[Response]:
        """The model's own answers: the next token of all rows at once, until every row has ended its turn.

        A prompt that several rows share is computed once, and its keys and values are copied to each of them.
        """
        prompts = list(dict.fromkeys(tuple(row.prompt) for row in batch))
        ids, mask, positions = self._padded(prompts)
        sharing = torch.tensor([prompts.index(tuple(row.prompt)) for row in batch], device=ids.device)  # (B,)
        samplings = [row.request.sampling for row in batch]
        tokens: list[list[int]] = [[] for _ in batch]
        logprobs: list[list[float]] = [[] for _ in batch]
        live = [True] * len(batch)
        cache = None
        for step in range(samplings[0].max_tokens):
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, logits = output.past_key_values, output.logits[:, -1]  # (B, V), one row a prompt at first
            if step == 0:
                logits, mask, positions = logits[sharing], mask[sharing], positions[sharing]
                if len(prompts) < len(batch):
                    cache.batch_select_indices(sharing)
            drawn, drawn_logprobs = draw(logits, samplings, step, live)
            for row, (token, logprob) in enumerate(zip(drawn.tolist(), drawn_logprobs.tolist(), strict=True)):
                live[row] = live[row] and token not in self._stops
                if live[row]:
                    tokens[row].append(token)
                    logprobs[row].append(logprob)
            if not any(live):
                break
            ids = drawn[:, None]
            mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return [
            Response(
                id=row.request.id,
                text=self._tokenizer.decode(tokens[i], skip_special_tokens=True).strip(),
                logprobs=tuple(logprobs[i]),
                finish="length" if live[i] else "stop",
                prompt_tokens=len(row.prompt),
                completion_tokens=len(tokens[i]),
            )
            for i, row in enumerate(batch)
        ]

    def _score(self, batch: Sequence[_Row]) -> list[Response]:
        """The log-probabilities of given responses, in one pass.

        Padded on the left as in generation, so that all responses end in the last column and the vocabulary's logits
        are computed for the longest response's positions alone.
        """
        ids, mask, positions = self._padded([row.prompt + row.response for row in batch])
        keep = max(len(row.response) for row in batch) + 1
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=keep
        )
        responses = []
        for row, logits in zip(batch, output.logits, strict=True):  # (keep, V)
            given = torch.tensor(row.response, dtype=torch.long, device=logits.device)
            before = logits[-len(given) - 1 : -1].float()  # (L, V): the position before each response token predicts it
            logprobs = -torch.nn.functional.cross_entropy(before, given, reduction="none")  # (L,)
            responses.append(
                Response(
                    id=row.request.id,
                    text=row.request.response or "",
                    logprobs=tuple(logprobs.tolist()),
                    finish="scored",
                    prompt_tokens=len(row.prompt),
                    completion_tokens=len(row.response),
                )
            )
        return responses

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Token ids, attention mask and positions of sequences padded on the left, each (B, T)."""
        longest = max(len(sequence) for sequence in sequences)
        ids = torch.full((len(sequences), longest), self._tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, longest - len(sequence) :] = torch.tensor(sequence)
            mask[row, longest - len(sequence) :] = 1
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        device = self._model.device
        return ids.to(device), mask.to(device), positions.to(device)


def batches(rows: Sequence[_Row], budget: int) -> Iterator[list[_Row]]:
    """Rows of one kind together, the longest first, so many that rows x longest stays within `budget` tokens.

    The longest come first because memory that suffices for the first batch suffices for all.
    """
    kinds: dict[tuple[str, bool, int], list[_Row]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    # All kinds of the same weights in a row, the base first: changing weights costs a merge.
    for kind in sorted(kinds, key=lambda kind: (kind[0] != "base", kind)):
        waiting = sorted(kinds[kind], key=lambda row: (row.length, row.prompt), reverse=True)  # equal prompts meet
        while waiting:
            count = max(1, budget // waiting[0].length)
            yield waiting[:count]
            waiting = waiting[count:]


def merge_adapter(model: Any, folder: Path) -> tuple[Any, list[tuple[torch.nn.Linear, torch.Tensor]]]:
    """The model with a LoRA adapter merged, and the layers that changed with their own weights.

    Computed in float32 and rounded once. Subtracting the update again would leave rounding errors in the base, so
    its weights are kept; they wait in the host's memory, where an accelerator's is scarcer.
    """
    wrapped = PeftModel.from_pretrained(model, str(folder))
    originals = []
    for layer in [module for module in wrapped.modules() if isinstance(module, BaseTunerLayer)]:
        base = layer.get_base_layer()
        original = base.weight.data
        base.weight.data = original.to(torch.float32, copy=True)
        layer.merge()
        base.weight.data = base.weight.data.to(original.dtype)
        originals.append((base, original.to("cpu")))
    return wrapped.unload(), originals
