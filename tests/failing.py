"""A backend some of whose requests fail, as a test says."""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence

from semievol.backends.fake import FakeBackend
from semievol.records import Request, Response

ASKED: Counter[str] = Counter()
"""How often each request was answered."""
FAILING: dict[str, bool] = {}
"""Ids of requests that fail, and whether for good."""
BREAKING: set[str] = set()
"""Ids of requests at which the process is broken off, once."""


class FailingBackend(FakeBackend):
    """Fails the requests in `FAILING`."""

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        for request in requests:
            if request.id in finished:
                continue
            if request.id in FAILING:
                permanent = FAILING[request.id]
                reason = "prompt of 812 tokens is too long" if permanent else "503: overloaded"
                yield Response(request.id, "", None, "error", 0, 0, reason, permanent)
            else:
                if request.id in BREAKING:
                    BREAKING.clear()
                    raise KeyboardInterrupt
                ASKED[request.id] += 1
                yield from super().generate([request])
