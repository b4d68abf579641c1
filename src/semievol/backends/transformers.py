"""Answers with transformers in this process, on whatever device there is.

What prompts have in common at their beginnings is computed once: see `semievol.local.batches`.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from semievol.backends.sampling import draw
from semievol.config import Config
from semievol.errors import BackendError
from semievol.local.batches import Batch, Tokens, batches
from semievol.local.model import LocalModel, local_model
from semievol.local.passes import Passes, Work, answer_logits
from semievol.models import (
    end_of_turn,
    load_tokenizer,
    model_limit,
    out_of_memory,
    prompt_ids,
    response_ids,
)
from semievol.records import Request, Response


@dataclass(frozen=True, slots=True)
class _Row:
    """A request in tokens."""

    request: Request
    prompt: Tokens
    response: Tokens
    """The given response of a request that is scored."""

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the longest response it may get."""
        return len(self.prompt) + len(self.response) + self.kind[2]

    @property
    def kind(self) -> tuple[str, bool, int]:
        """The weights, whether an answer is scored, and how many tokens may be generated."""
        scored = self.request.response is not None
        return self.request.weights, scored, 0 if scored else self.request.sampling.max_tokens


class TransformersBackend:
    """One base model in memory, and adapters that are merged into it in turn."""

    scores = True

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        self._config = config
        self._folders = dict(weights)
        self._tokenizer: Any = None
        self._limit: int | None = None
        self.work = Work()

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each request that is not `finished`, batch after batch, the longest prompts first."""
        if all(request.id in finished for request in requests):
            return
        fitting = []
        for row in map(self._row, requests):
            if row.length <= self.max_length():
                fitting.append(row)
            elif row.request.id not in finished:
                yield self._too_long(row)
        if not fitting:
            return
        held = local_model(self._config.model)
        for batch in batches(fitting, self._config.backend.batch_tokens, share=held.shares):
            if all(row.request.id in finished for row in batch.rows):
                continue
            if stop():
                return
            yield from (response for response in self._answered(held, batch) if response.id not in finished)

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
        """Nothing: the model is shared with the training, and freed when the run ends."""

    def _row(self, request: Request) -> _Row:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._config.model)
        given = [] if request.response is None else response_ids(self._tokenizer, request.response)
        return _Row(request, tuple(prompt_ids(self._tokenizer, request.messages)), tuple(given))

    def _too_long(self, row: _Row) -> Response:
        reason = (
            f"{len(row.prompt)} prompt tokens and up to {row.length - len(row.prompt)} of the response "
            f"do not fit in the model's {self.max_length()}"
        )
        return Response(row.request.id, "", None, "error", len(row.prompt), 0, reason, permanent=True)

    def _answered(self, held: LocalModel, batch: Batch[_Row]) -> list[Response]:
        weights, scored, _ = batch.rows[0].kind
        if weights != "base" and weights not in self._folders:
            raise BackendError(f"no weights named {weights!r}; there are {', '.join(['base', *self._folders])}")
        held.use(self._folders.get(weights))
        self.work.requested += sum(len(row.prompt) + len(row.response) for row in batch.rows)
        advice = "lower backend.batch_tokens or collaborate.max_tokens"
        with out_of_memory(f"a batch of {len(batch.rows)} prompts", advice), torch.inference_mode():
            passes = held.passes(held.model, self.work, self._tokenizer.pad_token_id)
            return self._scored(passes, batch) if scored else self._generated(passes, batch, self._stops(held.model))

    def _stops(self, model: Any) -> frozenset[int]:
        """The tokens that end an answer."""
        ends = model.generation_config.eos_token_id
        ends = [*(ends if isinstance(ends, list) else [ends]), self._end_of_turn, self._tokenizer.eos_token_id]
        return frozenset(end for end in ends if end is not None)

    @cached_property
    def _end_of_turn(self) -> int:
        return end_of_turn(self._tokenizer)

    def _generated(self, passes: Passes, batch: Batch[_Row], stops: frozenset[int]) -> list[Response]:
        """The model's own answers: the next token of all rows at once, until every row has ended its turn."""
        most = batch.rows[0].request.sampling.max_tokens
        logits = passes.prefill(batch, [1] * len(batch.leaves), room=most - 1)[batch.leaf_of_row]  # (B, V)
        answers = [_Answer(row) for row in batch.rows]
        going = answers
        for step in range(most):
            tokens, logprobs = draw(logits, [answer.row.request.sampling for answer in going], step)
            for answer, token, logprob in zip(going, tokens.tolist(), logprobs.tolist(), strict=True):
                answer.take(token, logprob, stops)
            live = [index for index, answer in enumerate(going) if not answer.ended]
            if not live or step + 1 == most:
                break
            if len(live) <= len(going) / 2:  # dropping the rest copies keys and values
                going, tokens = [going[index] for index in live], tokens[live]
                passes.select(live)
            logits = passes.step(tokens.tolist())
        return [answer.response(self._tokenizer) for answer in answers]

    def _scored(self, passes: Passes, batch: Batch[_Row]) -> list[Response]:
        """The log-probabilities of given responses, in one pass."""
        responses = []
        for row, logits in zip(batch.rows, answer_logits(passes, batch), strict=True):
            given = torch.tensor(row.response, dtype=torch.long, device=logits.device)
            logprobs = -torch.nn.functional.cross_entropy(logits, given, reduction="none")  # (L,)
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


class _Answer:
    """An answer as it is generated."""

    def __init__(self, row: _Row) -> None:
        self.row = row
        self.ended = False
        self._tokens: list[int] = []
        self._logprobs: list[float] = []

    def take(self, token: int, logprob: float, stops: frozenset[int]) -> None:
        """The next token; one of `stops` ends the answer, and nothing that follows is taken."""
        self.ended = self.ended or token in stops
        if not self.ended:
            self._tokens.append(token)
            self._logprobs.append(logprob)

    def response(self, tokenizer: Any) -> Response:
        """The answer; one that has not ended was cut off."""
        return Response(
            id=self.row.request.id,
            text=tokenizer.decode(self._tokens, skip_special_tokens=True).strip(),
            logprobs=tuple(self._logprobs),
            finish="stop" if self.ended else "length",
            prompt_tokens=len(self.row.prompt),
            completion_tokens=len(self._tokens),
        )
