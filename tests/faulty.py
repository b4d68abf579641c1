"""A fake engine and trainer that count what they are asked and kill their process on demand."""

import dataclasses
import math
import os
import signal
import time
import zlib
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path

from semievol.backends.fake import FakeBackend
from semievol.records import Request, Response
from semievol.training.fake import FakeTrainer


def _killed_after(variable: str, count: int) -> None:
    if os.environ.get(variable) == str(count):
        os.kill(os.getpid(), signal.SIGKILL)


class OneByOne(FakeBackend):
    """Calls `before` before it computes a request."""

    def before(self, request: Request) -> None:
        raise NotImplementedError

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        for request in requests:
            if request.id in finished:
                continue
            if stop():
                return
            self.before(request)
            yield from super().generate([request])


class CountingBackend(OneByOne):
    """Writes the id of each request it computes to $ASKED; dies before computing number $KILL_AT."""

    computed = 0

    def before(self, request: Request) -> None:
        _killed_after("KILL_AT", CountingBackend.computed)
        CountingBackend.computed += 1
        with Path(os.environ["ASKED"]).open("a") as handle:
            handle.write(f"{request.id}\n")


class DyingTrainer(FakeTrainer):
    """Dies after the weights of training number $KILL_TRAINING are written and before the stage is marked as done."""

    trained = 0

    def train(self, *args, **kwargs):
        result = super().train(*args, **kwargs)
        _killed_after("KILL_TRAINING", DyingTrainer.trained)
        DyingTrainer.trained += 1
        return result


class SlowBackend(FakeBackend):
    """Takes a while for each answer, unless $QUICK is set."""

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        for response in super().generate(requests, finished, stop):
            time.sleep(0 if "QUICK" in os.environ else 0.05)
            yield response


class WrongLogprobs(FakeBackend):
    """An engine of which every fifth answer has a log-probability that is none."""

    def _answer(self, request: Request) -> Response:
        said = super()._answer(request)
        wrong = {0: math.nan, 1: math.inf}.get(zlib.crc32(request.id.encode()) % 10)
        return said if wrong is None else dataclasses.replace(said, logprobs=(wrong, *(said.logprobs or ())))
