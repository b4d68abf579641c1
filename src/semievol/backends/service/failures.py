"""What a failed request means: for itself, for its neighbours, and for the run."""

import dataclasses
import email.utils
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import openai

from semievol.backends.service.clients import address
from semievol.config import ServiceConfig
from semievol.errors import BackendError, redacted, whole_characters
from semievol.records import Request, Response

logger = logging.getLogger(__name__)

Kind = Literal["again", "overloaded", "refused", "row", "all"]

MOST_SECONDS = 1e8
"""A wait that is longer is told in words."""
LONGEST_WAIT = 60.0
"""Seconds at which the waits between attempts stop doubling."""

_ROW_CODES = {"context_length_exceeded", "string_above_max_length", "content_filter", "invalid_prompt"}
_ROW_WORDS = re.compile(
    r"context (length|size|window)|longer than the model|(prompt|input|request) is too long|content management policy",
    re.IGNORECASE,
)
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_AGAIN = {408, 409, 425}
_OVERLOADED = {429, 502, 503, 504, 529}


NO_ANSWER = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What reading an answer can raise that is not what it should be; nothing else is done where they are caught."""


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer."""

    kind: Kind
    """`again`: another attempt may do. `overloaded`: the same, and fewer should be sent. `refused`: the service does
    not take the request as it is. `row`: this prompt will never be answered. `all`: no request will be."""
    reason: str
    wait: float | None = None
    """Seconds for which the service asks."""
    field: str | None = None
    """The field of the request that the service names."""
    status: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", redacted(whole_characters(self.reason)))  # services echo what they are sent


def of_error(error: Exception) -> Failure:
    """What an error of the client means.

    Raises:
        Exception: the error itself, if it is not one of a service that fails.
    """
    if isinstance(error, openai.APIStatusError):
        body = error.body if error.body is not None else error.message
        return of_status(error.status_code, body, error.response.headers)
    if isinstance(error, openai.APITimeoutError):
        return Failure("overloaded", "no answer in time")
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__
        return Failure("again", f"connection failed: {cause or error}".strip(" :"))
    if isinstance(error, (openai.APIError, *NO_ANSWER)):
        return Failure("again", f"the answer is damaged: {_line(str(error))}")
    raise error


def of_status(status: int, body: object, headers: Mapping[str, str]) -> Failure:
    """What an answer with an error status means; `body` is what it holds, with `error` around it or without."""
    fields = body if isinstance(body, Mapping) else {}
    fields = fields["error"] if isinstance(fields.get("error"), Mapping) else fields
    message = fields.get("message") or fields.get("detail") or (body if isinstance(body, str) else "") or "no reason"
    code, field = (
        whole_characters(value) if isinstance(value, str) else None for value in map(fields.get, ("code", "param"))
    )
    reason = f"{status}: {_line(message)}"
    kind: Kind
    if status in (401, 402, 403, 404) or (status == 429 and code in _QUOTA_CODES):
        kind = "all"
    elif status in _OVERLOADED:
        kind = "overloaded"
    elif status >= 500 or status in _AGAIN:
        kind = "again"
    elif status == 413 or code in _ROW_CODES or _ROW_WORDS.search(str(message)):
        kind = "row"
    else:
        kind = "refused"
    return Failure(kind, reason, _asked_wait(headers), field, status)


def waits(failure: Failure, service: ServiceConfig) -> Failure:
    """The failure, whose wait is as long as the config allows; says so if the service asks for more."""
    if failure.wait is None or failure.wait <= service.longest_wait:
        return failure
    logger.warning(
        "%s asks to wait for %s; it is asked again in %g s (backend.service.longest_wait)",
        address(service),
        f"{failure.wait:,.0f} s" if failure.wait < MOST_SECONDS else "years",
        service.longest_wait,
    )
    return dataclasses.replace(failure, wait=service.longest_wait)


def stops_all(failure: Failure, service: ServiceConfig) -> BackendError:
    """The error that ends the run, with what the user can do."""
    advice = {
        401: f"is the key in the environment variable {service.api_key_env} right?",
        402: "the account has to be paid",
        403: "may this key use the model?",
        404: "does the service have model.name, and is backend.service.base_url complete, usually up to /v1?",
        429: "finished answers are saved; the same command goes on when the service takes requests again",
    }
    saved = "finished answers are saved, and the same command goes on"
    return BackendError(f"{address(service)}: {failure.reason}; {advice.get(failure.status or 0, saved)}")


def failed(request: Request, failure: Failure, retries: int) -> Response:
    """The response of a request that is given up.

    A request that the service refuses while it answers others will be refused again; a crowded service will not.
    """
    reason = failure.reason + (f" ({retries + 1} attempts)" if retries else "")
    logger.warning("request %s failed: %s", request.id, reason)
    return Response(request.id, "", None, "error", 0, 0, reason, permanent=failure.kind in ("row", "refused"))


def backoff(attempt: int, first: float, chance: float) -> float:
    """Seconds to wait before another attempt (from 1): doubled each time, and half of it left to chance in [0, 1)."""
    longest = min(LONGEST_WAIT, first * 2.0 ** min(attempt - 1, 30))
    return longest * (0.5 + 0.5 * chance)


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for: seconds, or a date."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        after = headers.get("retry-after")
        if after is None:
            return None
        if re.fullmatch(r"[\d.]+", after.strip()):
            return float(after)
        return max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _line(message: Any) -> str:
    text = whole_characters(" ".join((message if isinstance(message, str) else json.dumps(message)).split()))
    return text if len(text) <= 300 else text[:297] + "..."
