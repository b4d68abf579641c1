"""Processes that should have gone."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def exists(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true within so many seconds."""
    patience = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > patience:
            return False
        time.sleep(0.02)
    return True
