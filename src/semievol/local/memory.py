"""How this process keeps memory that it has freed."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of `mallopt`, from glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Has glibc keep freed memory for the next batch; does nothing if the C library is another one.

    It would give the memory back to the system after each layer, and the system would hand it out again page by page,
    each of them cleared: a quarter of the time of a large batch on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; Windows has no library of the process
        return
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_MMAP_THRESHOLD, 2**25)  # the most that it takes
