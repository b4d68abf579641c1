"""Time as a test may ask for it: of this thread's processor, and how it grows."""

import time
from collections.abc import Callable

AT_ONCE = 0.05
"""Seconds of a processor below which nobody asks how the time has grown."""


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The least processor seconds that `work` took, of so many times: other programs do not count."""
    spans = []
    for _ in range(times):
        begun = time.thread_time()
        work()
        spans.append(time.thread_time() - begun)
    return min(spans)


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Whether four times the size takes four times as long, on a machine of any speed; a square takes sixteen."""
    whole = seconds(lambda: work(size), times=1)
    return whole < AT_ONCE or seconds(lambda: work(size)) < 8 * seconds(lambda: work(size // 4))
