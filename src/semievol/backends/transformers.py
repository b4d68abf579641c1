"""Answers with transformers in this process, on whatever device there is.

What prompts have in common at their beginnings is computed once: see `semievol.local.batches`.
"""

import logging
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import torch

from semievol.backends.prompts import Prompts, TokenisedRequest
from semievol.backends.sampling import draw
from semievol.config import Config
from semievol.errors import BackendError
from semievol.local.batches import Batch, batches
from semievol.local.model import LocalModel, local_model
from semievol.local.passes import Passes, Work, answer_logits
from semievol.models.quiet import is_out_of_memory, release_memory
from semievol.models.types import resolve_device
from semievol.records import Request, Response

_log = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 4096, "mps": 4096, "cuda": 16384}
"""What `backend.batch_tokens: auto` means by device. A CPU gains nothing from larger batches, a large GPU a lot."""


def batch_tokens(config: Config) -> int:
    """How many tokens are computed at once."""
    configured = config.backend.batch_tokens
    return BATCH_TOKENS[resolve_device(config.model).partition(":")[0]] if configured == "auto" else configured


class TransformersBackend:
    """One base model in memory, and adapters that are put into it in turn."""

    scores = True

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        self._config = config
        self._folders = dict(weights)
        self.prompts = Prompts(config.model)
        self.work = Work()
        self._budget = batch_tokens(config)
        """Tokens of a batch; fewer once memory has not sufficed."""

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
        for row in map(self.prompts.row, requests):
            refusal = self.prompts.too_long(row)
            if refusal is None:
                fitting.append(row)
            elif row.request.id not in finished:
                yield refusal
        if not fitting:
            return
        local = local_model(self._config.model)
        left = deque(batches(fitting, self._budget, share=local.shares))
        while left:
            batch = left.popleft()
            if all(row.request.id in finished for row in batch.rows):
                continue
            if stop():
                return
            responses = self._answered(local, batch)
            if responses is None:
                self._lower_budget(batch)
                rows = [row for other in (batch, *left) for row in other.rows]
                left = deque(batches(rows, self._budget, share=local.shares))
                continue
            yield from (response for response in responses if response.id not in finished)

    def prompt_tokens(self, request: Request) -> int:
        """Number of tokens of the request's prompt, its given response included; loads no weights."""
        return self.prompts.count(request)

    def max_length(self) -> int:
        """The most tokens that prompt and response may have together; loads no weights."""
        return self.prompts.limit

    def close(self) -> None:
        """Nothing: the model is shared with the training, and freed when the run ends."""

    def _lower_budget(self, batch: Batch[TokenisedRequest]) -> None:
        """Halves the tokens of a batch; this one becomes several."""
        release_memory()
        self._budget = max(1, min(self._budget, batch.computed) // 2)
        _log.warning(
            "memory does not suffice for a batch of %d prompts; going on with at most %d tokens at once. "
            "backend.batch_tokens: %d says so from the start",
            len(batch.rows),
            self._budget,
            self._budget,
        )

    def _answered(self, local: LocalModel, batch: Batch[TokenisedRequest]) -> list[Response] | None:
        """The responses to a batch; `None` if memory does not suffice, and might for a part of it.

        Raises:
            BackendError: there are no such weights, or memory does not suffice for a single prompt.
        """
        weights, scored, _ = batch.rows[0].kind
        if weights != "base" and weights not in self._folders:
            raise BackendError(f"no weights named {weights!r}; there are {', '.join(['base', *self._folders])}")
        local.use(self._folders.get(weights))
        try:
            with torch.inference_mode():
                passes = local.passes(local.model, self.work, self.prompts.tokenizer.pad_token_id)
                responses = self._scored(passes, batch) if scored else self._generated(passes, batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(batch.rows) == 1:
                advice = "lower collaborate.max_tokens or data.max_prompt_words, or set model.quantization to nf4"
                raise BackendError(f"{batch.rows[0].request.id}: out of memory for this row alone; {advice}") from error
            return None
        self.work.requested += sum(len(row.prompt) + len(row.response) for row in batch.rows)
        return responses

    def _generated(self, passes: Passes, batch: Batch[TokenisedRequest]) -> list[Response]:
        """The model's own answers: the next token of all rows at once, until every row has ended its turn."""
        most = batch.rows[0].request.sampling.max_tokens
        logits = passes.prefill(batch, [1] * len(batch.leaves), room=most - 1)[batch.leaf_of_row]  # (B, V)
        answers = [_Answer(row) for row in batch.rows]
        live_answers = answers
        for step in range(most):
            tokens, logprobs = draw(logits, [answer.row.request.sampling for answer in live_answers], step)
            for answer, token, logprob in zip(live_answers, tokens.tolist(), logprobs.tolist(), strict=True):
                answer.take(token, logprob, self.prompts)
            live = [index for index, answer in enumerate(live_answers) if not answer.ended]
            if not live or step + 1 == most:
                break
            if len(live) <= len(live_answers) / 2:  # dropping the rest copies keys and values
                live_answers, tokens = [live_answers[index] for index in live], tokens[live]
                passes.select(live)
            logits = passes.step(tokens.tolist())
        return [self.prompts.generated(a.row, a.tokens, a.logprobs, a.ended) for a in answers]

    def _scored(self, passes: Passes, batch: Batch[TokenisedRequest]) -> list[Response]:
        """The log-probabilities of given responses, in one pass."""
        responses = []
        for row, logits in zip(batch.rows, answer_logits(passes, batch), strict=True):
            targets = torch.tensor(row.response, dtype=torch.long, device=logits.device)
            logprobs = -torch.nn.functional.cross_entropy(logits, targets, reduction="none")  # (L,)
            responses.append(self.prompts.scored(row, logprobs.tolist()))
        return responses


class _Answer:
    """An answer as it is generated."""

    def __init__(self, row: TokenisedRequest) -> None:
        self.row = row
        self.ended = False
        self.tokens: list[int] = []
        self.logprobs: list[float] = []

    def take(self, token: int, logprob: float, prompts: Prompts) -> None:
        """The next token; one that ends turns ends the answer, and nothing that follows is taken."""
        self.ended = self.ended or token in prompts.stops
        if not self.ended:
            self.tokens.append(token)
            self.logprobs.append(logprob)
            self.ended = prompts.is_over(self.row, self.tokens)
