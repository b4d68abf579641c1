"""An engine that waits a fixed time for each answer and computes next to nothing: what is left is the executor's."""

import time
from collections.abc import Callable, Container, Iterator, Sequence

from semievol.backends.fake import FakeBackend
from semievol.records import Request, Response

SECONDS = 0.02
"""Of each answer."""


class WaitingBackend(FakeBackend):
    """The fake engine, slowly."""

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """One response for each unfinished request, after its wait."""
        for response in super().generate(requests, finished, stop):
            time.sleep(SECONDS)
            yield response
