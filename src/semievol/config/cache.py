"""Where this program keeps what it can fetch again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloads are kept: `SEMIEVOL_CACHE`, else `semievol` in `XDG_CACHE_HOME` or `~/.cache`."""
    if folder := os.environ.get("SEMIEVOL_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "semievol"
