"""Where this program keeps what it can fetch again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloads are kept: `SEMIEVOL_CACHE`, else `semievol` in `XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("SEMIEVOL_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "semievol"
