"""Semi-supervised fine-tuning of language models: labeled and unlabeled rows in, a better model out."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semievol.config import Config, load
    from semievol.estimator import SemiEvolClassifier
    from semievol.library import Run, check, compare, open_run, plan, run

__all__ = ["Config", "Run", "SemiEvolClassifier", "check", "compare", "load", "open_run", "plan", "run"]
__version__ = version("semievol")

_HOME = {
    **dict.fromkeys(__all__, "semievol.library"),
    **dict.fromkeys(("Config", "load"), "semievol.config"),
    "SemiEvolClassifier": "semievol.estimator",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that `import semievol` stays light."""
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'semievol' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What a notebook completes."""
    return [*__all__, "__version__"]
