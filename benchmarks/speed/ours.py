"""Our engine, through the seam that the stages use."""

import time
from collections.abc import Sequence
from typing import Any

from semievol.backends import open_backend
from semievol.local.model import free_local_model
from semievol.records import Request, Response

from .workloads import Workload


class Ours:
    """One backend for all requests; base and adapter in one model."""

    def __init__(self, workload: Workload, options: dict[str, Any]) -> None:
        self.loading = 0.0
        self.backend = open_backend(workload.config, {"warm": str(workload.adapter)})
        # A backend loads when it is first asked. Asked for one token of the base, it does little else.
        self._first = Request("first", ({"role": "user", "content": "a"},), "base", response="a")

    def open(self) -> None:
        """Loads the base; the adapter's merge counts as answering."""
        started = time.perf_counter()
        list(self.backend.generate([self._first]))
        self.loading = time.perf_counter() - started

    def answer(self, requests: Sequence[Request]) -> list[Response]:
        """The backend's responses."""
        return list(self.backend.generate(requests))

    def close(self) -> None:
        """Frees the model."""
        free_local_model()
