"""How a service wants to be asked: the request's fields, and which of them it has been found to refuse."""

import logging
import re
from typing import Any

from semievol.backends.service.answers import estimated_tokens, read_answer
from semievol.backends.service.failures import Failure
from semievol.config import Config
from semievol.errors import BackendError
from semievol.records import Request, Response

logger = logging.getLogger(__name__)

_UNSUPPORTED = re.compile(r"support|only the default|deprecated|not allowed|permitted|recogni[sz]ed|unknown", re.I)
_SEED_BITS = 0x7FFF_FFFF
"""Some services take seeds of 32 bits with a sign."""


class ChatDialect:
    """Makes the bodies of requests.

    OpenAI's reasoning models want `max_completion_tokens` where others want `max_tokens`, and have a temperature of
    their own; some services count log-probabilities where others switch them on. No list of names is kept: the first
    request that is refused teaches the rest.
    """

    path = "/chat/completions"

    def __init__(self, config: Config) -> None:
        service = config.backend.service
        self._extra = dict(service.extra_body)
        if config.model.chat_template_kwargs:
            self._extra = {"chat_template_kwargs": config.model.chat_template_kwargs} | self._extra
        self._room = "max_tokens"
        self._logprobs: bool | int | None = True if service.logprobs is not False else None
        self._left_out: set[str] = set()
        self.version = 0
        """Raised whenever something has been learned: requests are put otherwise from then on."""
        criterion = config.select.enabled and config.select.criterion == "nll"
        self._needs_logprobs = criterion or service.logprobs is True
        self._knows_logprobs = False

    def body(self, request: Request, model: str) -> dict[str, Any]:
        """The JSON body of a chat completion."""
        sampling = request.sampling
        fields: dict[str, Any] = {
            "model": model,
            "messages": list(request.messages),
            self._room: sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed & _SEED_BITS,
        }
        if sampling.stop:
            fields["stop"] = list(sampling.stop)
        if sampling.top_p < 1:
            fields["top_p"] = sampling.top_p
        if self._logprobs is not None:
            fields["logprobs"] = self._logprobs
        return {name: value for name, value in fields.items() if name not in self._left_out} | self._extra

    def read(self, request: Request, content: object) -> Response | Failure:
        """The response in the JSON of a chat completion, or why it holds none."""
        return read_answer(request, content)

    def tokens(self, request: Request) -> int:
        """About how many tokens the prompt and the longest answer have."""
        return estimated_tokens(request) + request.sampling.max_tokens

    def learn(self, failure: Failure, version: int) -> bool:
        """Whether a request that was refused is worth another attempt, because it is put otherwise now.

        Args:
            version: of the dialect in which it was put.

        Raises:
            BackendError: the service refuses log-probabilities, and they are needed.
        """
        field = self._named(failure) if version == self.version else None
        if field == "max_tokens":
            self._room = "max_completion_tokens"
            logger.info("the service wants max_completion_tokens (%s)", failure.reason)
        elif field == "logprobs":
            self._logprobs = 1 if self._logprobs is True else None
            if self._logprobs is None:
                self._go_on_without_logprobs(failure.reason)
        elif field == "stop" and _UNSUPPORTED.search(failure.reason):
            logger.info("the service takes no stop; what follows the answer is cut off here (%s)", failure.reason)
            self._left_out.add(field)
        elif field in ("seed", "temperature", "top_p") and _UNSUPPORTED.search(failure.reason):
            logger.warning("the service takes no %s, and its own holds (%s)", field, failure.reason)
            self._left_out.add(field)
        else:
            field = None
        self.version += field is not None
        return version != self.version

    def saw_answer(self, text: str, logprobs: tuple[float, ...] | None) -> None:
        """Takes in whether an answer came with log-probabilities.

        Raises:
            BackendError: the first answer came without, and they are needed.
        """
        if self._knows_logprobs or self._logprobs is None or not text:
            return
        self._knows_logprobs = True  # asked for further on: the first may have been an exception
        if logprobs is None:
            self._go_on_without_logprobs("the first answer came without")

    def _go_on_without_logprobs(self, reason: str) -> None:
        if self._needs_logprobs:
            raise BackendError(
                f"the service gives no log-probabilities ({reason}), and select.criterion: nll or "
                "backend.service.logprobs: true needs them; set select.criterion to auto or agreement and "
                "backend.service.logprobs to auto, or take another model or service"
            )
        logger.warning("the service gives no log-probabilities: going on without (%s)", reason)

    def _named(self, failure: Failure) -> str | None:
        """The field of ours that the service objects to, as far as it says so."""
        fields = {self._room, "seed", "temperature", "top_p", "stop"} | (
            {"logprobs"} if self._logprobs is not None else set()
        )
        own_fields = sorted(fields - self._left_out - set(self._extra))
        if failure.field in own_fields:
            return failure.field
        return next((name for name in own_fields if re.search(rf"\b{name}\b", failure.reason)), None)
