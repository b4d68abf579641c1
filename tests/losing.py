"""Providers whose answers get lost, and whose process dies, after the service has done what it was asked."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from semievol.training.hosted import HostedJob, Order, Point, Unanswered
from semievol.training.hosted.openai import OpenAIProvider


class LosesAnswers(OpenAIProvider):
    """The first answer to an upload, to an order and to a look is lost."""

    lost: set[str] = set()  # noqa: RUF012 - shared by all, as the service is

    def _lose(self, what: str) -> None:
        if what not in LosesAnswers.lost:
            LosesAnswers.lost.add(what)
            raise Unanswered(f"{what}: the connection broke")

    def upload(self, path: Path, name: str) -> str:
        made = super().upload(path, name)
        self._lose("upload")
        return made

    def start(self, order: Order) -> str:
        made = super().start(order)
        self._lose("start")
        return made

    def job(self, id_: str) -> HostedJob:
        found = super().job(id_)
        self._lose("job")
        return found


class Dies(OpenAIProvider):
    """Kills its process after the step that $DIE_AFTER names, before the answer is used."""

    def _die(self, what: str) -> None:
        if os.environ.get("DIE_AFTER") == what:
            os.kill(os.getpid(), signal.SIGKILL)

    def upload(self, path: Path, name: str) -> str:
        made = super().upload(path, name)
        self._die("upload")
        return made

    def start(self, order: Order) -> str:
        made = super().start(order)
        self._die("start")
        return made

    def points(self, id_: str) -> Sequence[Point]:
        found = super().points(id_)
        self._die("points")
        return found
