"""Paths and addresses as a user writes them: `~` and `$NAME` stand for what they stand for in a shell."""

import difflib
import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semievol.config.places import Address, Place
from semievol.errors import ConfigError, MissingExtraError, RunFolderError, SemiEvolError, first_line

_PASSWORD = re.compile(r"(?<=://)[^/@:]*:[^/@]+(?=@)")
"""Who logs in at an address, and with what."""
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def unset_variables(text: str) -> list[str]:
    """The names after a `$` that the environment does not have."""
    return [name for pair in _VARIABLE.findall(text) for name in pair if name and name not in os.environ]


def sibling_like(path: Place) -> str | None:
    """The name that is nearest to a path's among those that are there, for a slip in it."""
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return next(iter(difflib.get_close_matches(path.name, names, n=1)), None)


def expanded(text: str) -> str:
    """The path or address with `~` and `$NAME` expanded.

    A file whose own name has a `$` or begins with `~` is meant if it is there and nothing else can be.

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


def path_of(text: str | Place) -> Place:
    """The path that a text names, on a disk or at an address.

    Raises:
        ConfigError: the address holds a password.
        MissingExtraError: what reads addresses of this kind is not installed.
        RunFolderError: the address cannot be reached, or is of a kind that is not known.
    """
    if not isinstance(text, str):
        return text
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    if "://" not in text:
        return Path(text)
    if _PASSWORD.search(text):
        raise ConfigError(
            f"{_PASSWORD.sub('[a password]', text)}: passwords do not belong in an address, which is written into the "
            "run folder; the environment holds those of a file system"
        )
    return _path_at(text)


@functools.lru_cache(maxsize=64)
def _path_at(url: str) -> Address:
    """The path at an address, looked for once: later errors would have no words for wrong credentials."""
    try:
        from upath import UPath
    except ImportError as error:
        raise MissingExtraError(f"{url}: addresses need {error.name}; pip install 'semievol[url]'") from error
    try:
        # Other processes write there, so a listing is never taken from memory.
        path: Address = UPath(url, use_listings_cache=False)
        file_system = path.fs
    except ImportError as error:
        raise MissingExtraError(f"{url}: a package is missing: {error}; pip install it beside semievol[url]") from error
    except ValueError as error:
        raise RunFolderError(f"{url}: {error}") from error
    with in_one_line(url, "cannot be reached"), suppress(FileNotFoundError):  # as before a run begins
        file_system.info(path.path)
    return path


@contextmanager
def in_one_line(path: Place | str, fault: str) -> Iterator[None]:
    """Whatever a file system raises (botocore's errors have no base of Python's) as a `RunFolderError`."""
    try:
        yield
    except SemiEvolError:
        raise
    except Exception as error:
        raise RunFolderError(f"{path}: {fault}: {first_line(error)}") from error


def is_there(path: Path) -> bool:
    """Whether there is a file or folder; none has a name that the system does not take."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
