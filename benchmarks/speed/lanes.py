"""A process for each way, so that its peak memory is its own and its libraries stay loaded between repetitions."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """Calls functions in one process, which starts with the first call and ends with the `with` block.

    Spawned and not forked. On Linux the peak memory that a process reports starts at its parent's, so the parent of
    the lanes must not load torch.
    """

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))

    def __enter__(self) -> "Lane":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns; its exceptions come through."""
        return self._pool.submit(function, *args, **kwargs).result()


def peak_memory() -> int | None:
    """The most memory that this process has held, in MB; `None` on Windows, whose Python does not tell."""
    import sys

    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, kilobytes elsewhere
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))
