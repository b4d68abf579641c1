"""A model of word counts that answers at once: for tests, dry runs and examples.

It learns (`training.kind: fake`), is deterministic, and speaks through the same seam as a real engine. It does not
read options, examples or instructions: it votes with the words of the last message.
"""

import hashlib
import json
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from semievol.config import Config
from semievol.errors import BackendError
from semievol.records import Request, Response, before_stop

VOTES_FILE = "votes.json"


class FakeBackend:
    """Answers with the response that the words of the prompt voted for in training."""

    scores = True

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        self._noise = config.backend.fake_noise
        self._max_length = config.model.max_length or 100_000
        self._weights = dict(weights)
        self._loaded: dict[str, FakeWeights] = {"base": FakeWeights({})}

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each unfinished request, in the order of the requests."""
        for request in requests:
            if stop():
                return
            if request.id not in finished:
                yield self._answer(request)

    def prompt_tokens(self, request: Request) -> int:
        """Number of words of the prompt and the given response."""
        return sum(len(m["content"].split()) for m in request.messages) + len((request.response or "").split())

    def max_length(self) -> int:
        """The configured limit, or one that no prompt reaches."""
        return self._max_length

    def close(self) -> None:
        """Forgets the weights."""
        self._loaded = {"base": FakeWeights({})}

    def _answer(self, request: Request) -> Response:
        shares = self._load(request.weights).shares(request.messages[-1]["content"])
        text = self._draw(request, shares) if request.response is None else request.response
        if request.response is None and (kept := before_stop(text, request.sampling.stop)) is not None:
            text = kept.strip()
        tokens = max(1, len(text.split()))
        share = shares.get(text, 0.5 / (len(shares) + 1))
        return Response(
            id=request.id,
            text=text,
            logprobs=(math.log(share) / tokens,) * tokens,
            finish="stop" if request.response is None else "scored",
            prompt_tokens=self.prompt_tokens(request),
            completion_tokens=tokens,
        )

    def _draw(self, request: Request, shares: Mapping[str, float]) -> str:
        if not shares:  # an untrained model knows no answers: it repeats a word of the prompt
            words = request.messages[-1]["content"].split() or ["?"]
            return words[_number(request, "word") % len(words)]
        ranked = sorted(shares, key=lambda text: (-shares[text], text))
        noisy = request.sampling.temperature > 0 and _number(request, "noise") % 1000 < 1000 * self._noise
        return ranked[_number(request, "pick") % len(ranked)] if noisy else ranked[0]

    def _load(self, name: str) -> "FakeWeights":
        if name not in self._loaded:
            try:
                text = Path(self._weights[name], VOTES_FILE).read_text(encoding="utf-8")
            except (KeyError, OSError) as error:
                raise BackendError(f"fake backend: no weights named {name!r}: {error}") from error
            self._loaded[name] = FakeWeights(json.loads(text))
        return self._loaded[name]


class FakeWeights:
    """Counts of the responses that each word stood with in training."""

    def __init__(self, votes: Mapping[str, Mapping[str, int]]) -> None:
        self._votes = votes
        self._last: tuple[str | None, dict[str, float]] = (None, {})

    @cached_property
    def _best(self) -> dict[str, tuple[str, float]]:
        """Word -> its response and the weight of its vote: words that stand with every response hardly count."""
        best = {}
        for word, counts in self._votes.items():
            response = min(counts, key=lambda text: (-counts[text], text))
            best[word] = response, (counts[response] / sum(counts.values())) ** 2
        return best

    @cached_property
    def _responses(self) -> dict[str, float]:
        return {response: 0.1 for counts in self._votes.values() for response in counts}

    def shares(self, text: str) -> Mapping[str, float]:
        """Each known response's share of the votes of the words in `text`; sums to 1."""
        if text != self._last[0]:  # collaborators are often asked in the same words
            self._last = text, self._counted(text)
        return self._last[1]

    def _counted(self, text: str) -> dict[str, float]:
        if not self._responses:
            return {}
        totals, best = dict(self._responses), self._best
        for word in dict.fromkeys(text.lower().split()):  # a set would add floats in an order of its own
            if response := best.get(word):
                totals[response[0]] += response[1]
        total = sum(totals.values())
        return {response: votes / total for response, votes in totals.items()}


def _number(request: Request, purpose: str) -> int:
    """A number that depends on the request's seed and weights alone."""
    key = f"{request.sampling.seed}/{request.weights}/{purpose}"
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=6).digest(), "big")
