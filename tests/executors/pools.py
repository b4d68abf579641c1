"""Runs with several workers whose engines fail on demand."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from faulty import OneByOne
from samples import topics_config
from semievol.config import Config
from semievol.errors import ConfigError
from semievol.records import Request

ROWS = 40
SHARD_ROWS = 4


class Obliging(OneByOne):
    """Does what the files in the folder of the labeled rows say: the first word is what, the second a request's id.

    Ids of what it computes are lines of `asked.txt` there, and each engine is a line of `opened.txt`.
    """

    def __init__(self, config: Config, weights: Any) -> None:
        super().__init__(config, weights)
        self._folder = Path(str(config.data.labeled)).parent
        with (self._folder / "opened.txt").open("a") as handle:
            handle.write(f"{os.getpid()}\n")

    def before(self, request: Request) -> None:
        self._obey(request.id)
        with (self._folder / "asked.txt").open("a") as handle:
            handle.write(f"{request.id}\n")

    def _obey(self, id_: str) -> None:
        for order in self._folder.glob("order-*"):
            try:
                what, whom = order.read_text().split()
            except FileNotFoundError:  # another worker was faster
                continue
            if whom not in ("all", id_):
                continue
            if what == "slow":
                time.sleep(0.05)
            elif what == "raise":
                raise ValueError(f"{id_} is poison")
            elif what == "refuse":
                raise ConfigError("an option that cannot be")
            elif what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            elif what == "die-once":
                order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)


def order(folder: Path, what: str, whom: str = "all") -> Path:
    """Tells the engines of a run in `folder` what to do at a request."""
    path = folder / f"order-{what}"
    path.write_text(f"{what} {whom}")
    return path


def config_of(folder: Path, kind: str = "ray", workers: int = 2, **options: Any) -> Config:
    """A run of ten shards a stage; `options` are those of the workers."""
    folder.mkdir(exist_ok=True)
    ray = {"num_cpus": 0.5} if kind == "ray" else {}
    sections = {} if kind == "inline" else {kind: {"workers": workers, **ray, **options}}
    return topics_config(
        folder,
        backend={"kind": "executors.pools:Obliging"},
        executor={"kind": kind, "shard_rows": SHARD_ROWS, **sections},
    )


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []
