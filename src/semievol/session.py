"""Which code is running."""

import functools
import subprocess
from pathlib import Path


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that this package runs from, `-dirty` where files differ; `None` outside of one."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None  # installed, and perhaps inside the repository of somebody else
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    """What git prints; `None` where it is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
