"""What goes wrong, decided by the content of a request and how often it was sent: the same in every run.

A fault is a name of `FAULTS`, `truncated` (half of the JSON), `cut` (a connection that breaks in the answer), or one of
`ANSWER_FAULTS` of `service.chat`.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Sequence

from service.http import Call, Reply, refusal

Faults = Callable[[Call, int], str | None]
"""The fault of a call on its n-th attempt (from 0), or `None`."""

TRANSIENT = ("429", "429-wait", "500", "503", "drop", "truncated", "cut", "slow")
"""Faults that another attempt may get over."""


def no_faults(call: Call, attempt: int) -> None:
    """Nothing goes wrong."""


def random_faults(
    share: float, kinds: Sequence[str] = TRANSIENT, seed: int = 0, path: str = "/chat/completions", most: int = 1000
) -> Faults:
    """A `share` of the calls to `path` fails in one of the ways of `kinds`, each call `most` times at most."""

    def fault(call: Call, attempt: int) -> str | None:
        if not call.path.endswith(path) or attempt >= most:
            return None
        digest = hashlib.blake2b(call.body, digest_size=8, salt=f"{seed}/{attempt}".encode()[:16]).digest()
        number = int.from_bytes(digest, "big")
        return kinds[number % len(kinds)] if number / 2**64 < share else None

    return fault


def first(*kinds: str, path: str = "/chat/completions") -> Faults:
    """The first calls to `path` fail in these ways, one after another; an empty name lets one through."""
    left = itertools.chain(kinds, itertools.repeat(""))

    def fault(call: Call, attempt: int) -> str | None:
        return (next(left) or None) if call.path.endswith(path) else None

    return fault


def _now(status: int, message: str, **headers: str) -> Callable[[], Awaitable[Reply | None]]:
    async def made() -> Reply:
        return refusal(status, message, **headers)

    return made


async def _drop() -> None:
    return None


async def _slow() -> None:
    await asyncio.sleep(20)


FAULTS: dict[str, Callable[[], Awaitable[Reply | None]]] = {
    "400": _now(400, "The request is malformed."),
    "401": _now(401, "Incorrect API key provided: sk-o***ret."),
    "403": _now(403, "Your organization may not use this model."),
    "404": _now(404, "The model does not exist or you do not have access to it."),
    "429": _now(429, "Rate limit reached for requests."),
    "429-wait": _now(429, "Rate limit reached for tokens.", retry_after_ms="10"),
    "429-later": _now(429, "Rate limit reached for requests.", retry_after="0.4"),
    "429-years": _now(429, "Rate limit reached for requests.", retry_after="1000000000"),
    "429-date": _now(429, "Rate limit reached for requests.", retry_after="Fri, 31 Dec 9999 23:59:59 GMT"),
    "500": _now(500, "The server had an error while processing your request."),
    "503": _now(503, "The engine is currently overloaded."),
    "drop": _drop,
    "slow": _slow,
}
