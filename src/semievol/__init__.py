"""Semi-supervised fine-tuning of language models: labeled and unlabeled rows in, a better model out."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semievol.config import Config, load
    from semievol.pipeline import RunResult, run

__all__ = ["Config", "RunResult", "load", "run"]
__version__ = version("semievol")

_HOME = {
    "Config": "semievol.config",
    "load": "semievol.config",
    "run": "semievol.pipeline",
    "RunResult": "semievol.pipeline",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that `import semievol` stays light."""
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'semievol' has no attribute {name!r}")
