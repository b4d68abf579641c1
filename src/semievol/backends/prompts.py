"""Requests as the tokens that a model reads, and its tokens as responses: the same for every engine with our tokenizer.

So training and answering see the same token ids, whichever engine answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from semievol.config import ModelConfig
from semievol.data.table import located
from semievol.local.batches import Tokens
from semievol.models.chat import ChatTemplate
from semievol.models.loading import load_template, model_limit, stop_tokens
from semievol.records import Request, Response, before_stop


@dataclass(frozen=True, slots=True)
class TokenisedRequest:
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


class Prompts:
    """One model's tokenizer and its limits; loads no weights."""

    def __init__(self, model: ModelConfig) -> None:
        self._model = model
        self._closings: dict[tuple[str, ...], frozenset[int]] = {(): frozenset()}

    @cached_property
    def template(self) -> ChatTemplate:
        """The tokenizer with its chat template, loaded when it is first needed."""
        return load_template(self._model)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.template.tokenizer

    @cached_property
    def limit(self) -> int:
        """The most tokens that prompt and response may have together."""
        return model_limit(self._model)

    @cached_property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return stop_tokens(self._model, self.template)

    def row(self, request: Request) -> TokenisedRequest:
        """The request in tokens; before a given response stands what the template writes there.

        Raises:
            DataError: the template refuses the chat; names the request.
        """
        with located(request.id):
            prompt = self.template.prompt(request.messages)
            if request.response is None:
                return TokenisedRequest(request, tuple(prompt), ())
            opening = self.template.turn_of(request.messages).opening
            return TokenisedRequest(request, (*prompt, *opening), tuple(self.template.answer(request.response)))

    def count(self, request: Request) -> int:
        """Number of tokens of the request's prompt, its given response included."""
        row = self.row(request)
        return len(row.prompt) + len(row.response)

    def too_long(self, row: TokenisedRequest) -> Response | None:
        """The refusal of a request that does not fit in the model, else `None`."""
        if row.length <= self.limit:
            return None
        reason = (
            f"{len(row.prompt)} prompt tokens and up to {row.length - len(row.prompt)} of the response "
            f"do not fit in the model's {self.limit}"
        )
        return Response(row.request.id, "", None, "error", len(row.prompt), 0, reason, permanent=True)

    def generated(
        self, row: TokenisedRequest, tokens: Sequence[int], logprobs: Sequence[float], has_ended: bool
    ) -> Response:
        """An answer of `tokens` (L,) with `logprobs` (L,), the token that ended it aside.

        If one of the request's stops is in it, it ends there, with the tokens that its text needs. What the template
        writes before an answer is no part of it.
        """
        tokens, logprobs = self._without_opening(row, tokens, logprobs)
        text = self._decoded(tokens)
        if (before := before_stop(text, row.request.sampling.stop)) is not None:
            text, has_ended = before.rstrip(), True
            while tokens and self._decoded(tokens[:-1]).startswith(text):
                tokens, logprobs = tokens[:-1], logprobs[:-1]
        return Response(
            id=row.request.id,
            text=text.strip(),
            logprobs=tuple(logprobs),
            finish="stop" if has_ended else "length",
            prompt_tokens=len(row.prompt),
            completion_tokens=len(tokens),
        )

    def is_over(self, row: TokenisedRequest, tokens: Sequence[int]) -> bool:
        """Whether one of the request's stops is in the answer, whose last token is new."""
        return tokens[-1] in self._closing(row.request.sampling.stop) and (
            before_stop(self._decoded(tokens), row.request.sampling.stop) is not None
        )

    def scored(self, row: TokenisedRequest, logprobs: Sequence[float]) -> Response:
        """The given response with its `logprobs` (L,)."""
        return Response(
            id=row.request.id,
            text=row.request.response or "",
            logprobs=tuple(logprobs),
            finish="scored",
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.response),
        )

    def _decoded(self, tokens: Sequence[int]) -> str:
        """The text with its control tokens: a turn that the model goes on to invent is seen as one."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=False))

    def _without_opening(
        self, row: TokenisedRequest, tokens: Sequence[int], logprobs: Sequence[float]
    ) -> tuple[Sequence[int], Sequence[float]]:
        turn = self.template.turn_of(row.request.messages)
        opening = turn.opening_text.strip()
        if not opening or not self._decoded(tokens).lstrip().startswith(opening):
            return tokens, logprobs
        count = 0
        while not self._decoded(tokens[:count]).lstrip().startswith(opening):
            count += 1
        while count < len(tokens) and not self._decoded(tokens[count : count + 1]).strip():
            count += 1
        return tokens[count:], logprobs[count:]

    def _closing(self, stop: tuple[str, ...]) -> frozenset[int]:
        """The tokens that hold the last character of a stop."""
        if stop not in self._closings:
            last = {ending[-1] for ending in stop} | {
                f"<0x{byte:02X}>" for ending in stop for byte in ending[-1].encode()[-1:]
            }
            vocabulary = self.tokenizer.get_vocab().items()
            self._closings[stop] = frozenset(id_ for text, id_ in vocabulary if any(ending in text for ending in last))
        return self._closings[stop]
