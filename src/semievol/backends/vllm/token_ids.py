"""How vLLM is asked: prompts as our tokenizer's ids, log-probabilities by the ids of their tokens.

A given response of L tokens is scored as the next token of L prompts: the prompt, the prompt and the response's first
token, and so on. Each call asks for the tokens it needs by id (`logprob_token_ids`), under the model's unmodified
distribution. vLLM's own way, `prompt_logprobs`, takes no part in its prefix cache; here all L prompts are in it but for
their last tokens.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from semievol.backends.prompts import Prompts, TokenisedRequest
from semievol.backends.service.failures import Failure
from semievol.records import Request, Response

MOST_IDS = 128
"""The most ids that vLLM takes in `logprob_token_ids`."""
PLACES = 64
"""Tokens scored in one call, at most `MOST_IDS`: each repeats the prompt, and a call should not grow to megabytes."""

_PLAIN = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Nothing but temperature and top-p, whatever defaults the server has."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one call asks: an answer, or the log-probabilities of `row.response[start:end]`."""

    row: TokenisedRequest
    start: int = 0
    end: int = 0

    @property
    def prompts(self) -> list[list[int]]:
        """The prompts of the call, in token ids."""
        row = self.row
        if not self.end:
            return [list(row.prompt)]
        return [[*row.prompt, *row.response[:place]] for place in range(self.start, self.end)]

    @property
    def wanted(self) -> tuple[int, ...]:
        """The tokens that are scored."""
        return self.row.response[self.start : self.end]


def pieces(row: TokenisedRequest) -> Iterator[Piece]:
    """A request's calls: one, unless a long response is scored."""
    if row.request.response is None:
        yield Piece(row)
        return
    start = 0
    while start < len(row.response):
        end = min(start + PLACES, len(row.response))
        yield Piece(row, start, end)
        start = end


def in_cache_order(rows: Iterable[TokenisedRequest]) -> list[TokenisedRequest]:
    """The rows sorted so that prompts with a common beginning, under the same weights, follow one another."""
    return sorted(rows, key=lambda row: (row.request.weights, row.prompt, row.response))


class TokenIds:
    """The dialect of vLLM's completions, for the requests that were taken last."""

    path = "/completions"
    version = 0

    def __init__(self, prompts: Prompts, seeds: bool) -> None:
        self._prompts, self._seeds = prompts, seeds
        self._pieces: dict[str, Piece] = {}
        self._calls: Counter[str] = Counter()

    def take(self, rows: Iterable[TokenisedRequest]) -> list[Request]:
        """The requests to send for `rows`: one for each piece."""
        self._pieces, self._calls = {}, Counter()
        requests = []
        for row in rows:
            for piece in pieces(row):
                request = dataclasses.replace(row.request, id=f"{row.request.id}\n{piece.start}")
                self._pieces[request.id] = piece
                self._calls[row.request.id] += 1
                requests.append(request)
        return requests

    def joined(self, answers: Iterable[Response]) -> Iterator[Response]:
        """The responses to whole rows, from those to their pieces in any order."""
        arrived: dict[str, dict[int, Response]] = defaultdict(dict)
        for answer in answers:
            piece = self._pieces[answer.id]
            id_ = piece.row.request.id
            arrived[id_][piece.start] = answer
            if len(arrived[id_]) == self._calls[id_]:
                parts = [part for _, part in sorted(arrived.pop(id_).items(), key=lambda entry: entry[0])]
                failed = [part for part in parts if part.finish == "error"]
                if failed or not piece.end:
                    yield dataclasses.replace((failed or parts)[0], id=id_)
                else:
                    yield self._prompts.scored(piece.row, [value for part in parts for value in part.logprobs or ()])

    def body(self, request: Request, model: str) -> dict[str, Any]:
        """The JSON body of a call."""
        return self.call(self._piece(request), model)

    def call(self, piece: Piece, model: str) -> dict[str, Any]:
        """The JSON body that asks for a piece."""
        sampling = piece.row.request.sampling
        body = {
            "model": model,
            "prompt": piece.prompts,
            "stop_token_ids": sorted(self._prompts.stops),
            "return_tokens_as_token_ids": True,
            **_PLAIN,
        }
        if piece.end:
            ids = sorted(set(piece.wanted))
            return {**body, "max_tokens": 1, "temperature": 0.0, "logprobs": len(ids), "logprob_token_ids": ids}
        body |= {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p}
        body["logprobs"] = 0  # that of the sampled token
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self._seeds and sampling.temperature > 0:
            body["seed"] = sampling.seed
        return body

    def read(self, request: Request, content: object) -> Response | Failure:
        """The response in the JSON of a completion, or why it holds none."""
        piece = self._piece(request)
        try:
            if piece.end:
                response = self._prompts.scored(piece.row, scores(piece, content))
            else:
                response = self._generated(piece, choices(content)[0])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return Failure("again", f"not the answer of a vLLM server: {error!r}")
        return dataclasses.replace(response, id=request.id)

    def tokens(self, request: Request) -> int:
        """Number of tokens that a call makes the engine read and write, cached ones included."""
        piece = self._piece(request)
        return sum(map(len, piece.prompts)) + piece.row.length - len(piece.row.prompt)

    def learn(self, failure: Failure, version: int) -> bool:
        """False: nothing is put otherwise."""
        return False

    def saw_answer(self, text: str, logprobs: tuple[float, ...] | None) -> None:
        """Nothing: every answer has log-probabilities."""

    def _piece(self, request: Request) -> Piece:
        return self._pieces.get(request.id) or Piece(self._prompts.row(request))

    def _generated(self, piece: Piece, choice: Mapping[str, Any]) -> Response:
        tokens = [token_id(token) for token in choice["logprobs"]["tokens"]]
        logprobs = [float(value) for value in choice["logprobs"]["token_logprobs"]]
        has_ended = bool(tokens) and tokens[-1] in self._prompts.stops
        if has_ended:
            tokens, logprobs = tokens[:-1], logprobs[:-1]
        return self._prompts.generated(piece.row, tokens, logprobs, has_ended)


def choices(content: object) -> list[Mapping[str, Any]]:
    """The choices in the JSON of a completion, in the order of the prompts."""
    listed: list[Mapping[str, Any]] = content["choices"]  # type: ignore[index]
    return sorted(listed, key=lambda choice: choice["index"])


def scores(piece: Piece, content: object) -> list[float]:
    """Log P of each token of a piece that is scored."""
    entries = choices(content)
    if len(entries) != len(piece.wanted):
        raise ValueError(f"{len(entries)} choices for {len(piece.wanted)} prompts")
    return [
        float(choice["logprobs"]["top_logprobs"][0][f"token_id:{token}"])
        for choice, token in zip(entries, piece.wanted, strict=True)
    ]


def token_id(text: str) -> int:
    """The id in `token_id:288`."""
    return int(text.removeprefix("token_id:"))
