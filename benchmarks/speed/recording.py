"""Keeps what the stages ask of the engine, so that every way is asked the same."""

import dataclasses
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path

from semievol.backends.transformers import TransformersBackend
from semievol.config import Config
from semievol.records import Request, Response


class Recording(TransformersBackend):
    """The transformers backend; each request is written to `requests.jsonl` in the run folder on its way."""

    def __init__(self, config: Config, weights: Mapping[str, str]) -> None:
        super().__init__(config, weights)
        self._file = Path(config.output) / "requests.jsonl"

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """The backend's responses."""
        requests = list(requests)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(dataclasses.asdict(request)) + "\n" for request in requests)
        return super().generate(requests, finished, stop)
