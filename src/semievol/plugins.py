"""Imports the implementation that a config names, when it is used and not before."""

import importlib
from collections.abc import Mapping
from typing import Any

from semievol.errors import ConfigError, MissingExtraError

Implementations = Mapping[str, tuple[str, str | None]]
"""name -> ("module:Class", the extra of `pip install semievol[extra]` that brings its dependencies)."""


def implementation(option: str, kind: str, table: Implementations) -> Any:
    """The class that `kind` stands for: a name of `table`, or `"my_package.module:Class"`.

    Args:
        option: the config option that named it, for the error message.

    Raises:
        ConfigError: no such name, module or class.
        MissingExtraError: a dependency of one of ours is not installed.
    """
    if kind not in table and ":" not in kind:
        names = ", ".join(table)
        raise ConfigError(f"{option}: {kind!r} is not one of {names}, nor of the form my_package.module:Class")
    target, extra = table.get(kind, (kind, None))
    module_name, _, class_name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if extra is None or (error.name or "").partition(".")[0] == "semievol":
            raise ConfigError(f"{option}: cannot import {module_name}: {error}") from error
        raise MissingExtraError(f"{option}: {kind} needs {error.name}; pip install 'semievol[{extra}]'") from error
    try:
        return getattr(module, class_name)
    except AttributeError as error:
        raise ConfigError(f"{option}: {module_name} has no {class_name}") from error
