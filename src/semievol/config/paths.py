"""Paths as a user writes them: `~` and `$NAME` stand for what they stand for in a shell."""

import os
import re
from pathlib import Path

from semievol.errors import ConfigError

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def unset_variables(text: str) -> list[str]:
    """The names after a `$` that the environment does not have."""
    return [name for pair in _VARIABLE.findall(text) for name in pair if name and name not in os.environ]


def expanded(text: str) -> str:
    """The path or address with `~` and `$NAME` expanded.

    A file whose own name has a `$` or begins with `~` is meant where it is there and nothing else can be.

    Raises:
        ConfigError: a variable is not set, there is no such user, or no path can be written so.
    """
    if "\0" in text:
        raise ConfigError(f"{text!r}: a path has no null character")
    if unset := unset_variables(text):
        if Path(text).exists():
            return text
        raise ConfigError(f"{text}: {', '.join(unset)} is not set in the environment")
    path = os.path.expandvars(text)
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        if Path(path).exists():
            return path
        raise ConfigError(f"{text}: no home folder is known for it; ./{text} is a name that begins with ~") from error
