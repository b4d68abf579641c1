"""The fake engine, watched: it remembers what it was asked, and says something else where a test wants it."""

from collections.abc import Callable, Mapping

from semievol.backends.fake import FakeBackend
from semievol.records import Request, Response

WATCHED = {"kind": "watched:WatchedBackend"}
"""The section `backend` of a run that is watched."""
ASKED: list[Request] = []
"""Every request, in the order in which they were asked."""
SAYS: list[Callable[[Request, Response], Response]] = []
"""What becomes of each response, one after another."""
DRAWS: list[str] = []
"""What is drawn instead of an answer, before it is cut at a stop."""


class WatchedBackend(FakeBackend):
    def _draw(self, request: Request, shares: Mapping[str, float]) -> str:
        return DRAWS[0] if DRAWS else super()._draw(request, shares)

    def _answer(self, request: Request) -> Response:
        ASKED.append(request)
        response = super()._answer(request)
        for changed in SAYS:
            response = changed(request, response)
        return response
