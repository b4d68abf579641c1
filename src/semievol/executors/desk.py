"""A process on a Ray cluster that does one shard at a time, for as long as it lives."""

import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ray

import semievol
from semievol.progress import interrupt
from semievol.run_folder.folder import PROCESS

CONTROL = "control"


@ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={CONTROL: 1})
class Desk:
    """Runs the functions that it is handed. The engine that they open stays open between them.

    Ray starts none again by itself: the executor hires another one, and knows which shard was in flight.
    """

    def __init__(self, folder: str, modules: Sequence[str]) -> None:
        """Works in the hiring process' folder and finds its modules, if this machine has them.

        Args:
            folder: what paths in a config are relative to.
            modules: where a config's own tasks and engines are looked for.
        """
        with suppress(OSError):
            os.chdir(folder)
        sys.path += [place for place in modules if place not in sys.path]
        os.environ[PROCESS] = f"{platform.node()}-{os.getpid()}"
        self._held: tuple[Any, Callable[[Any], Any]] | None = None

    def version(self) -> str:
        """Of the package on this machine; answered when there is a machine."""
        return semievol.__version__

    def work(self, function: list[Any], shard: Any) -> Any:
        """What the function gives for a shard.

        Args:
            function: its reference, in a list so that Ray hands it on as it is: it is fetched once for all shards.
        """
        (reference,) = function
        if self._held is None or self._held[0] != reference:
            self._held = reference, ray.get(reference)
        return self._held[1](shard)

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Asks the function to save what is in flight and stop."""
        interrupt()
