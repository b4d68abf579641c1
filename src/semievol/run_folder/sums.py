"""By what a run's files are known again: the SHA-256 of each, and of what a JSON file says.

The sums of a finished stage's files are in its `done.json`. What a stage has finished before it is done itself has a
file of its own beside it: that of `part-00000.parquet` is `part-00000.sum.json`. JSON files that a run depends on hold
the sum of their other fields. At an address there are none but those: an object store has its own.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semievol.config.places import Place
from semievol.errors import RunFolderError, first_line
from semievol.run_folder.damage import damaged
from semievol.run_folder.keys import without_revision

SEAL = "sha256"
"""The field of a JSON file with the sum of its other fields."""

FILES = "files"
"""The field of `done.json` with the sum of each file of the stage, by its place below the stage's folder."""

KEY = "key"
"""The field of `done.json` with the sum of what the key says, without its revision."""

_BESIDE = ".sum.json"


def seal_of(content: Mapping[str, Any]) -> str:
    """The SHA-256 of a JSON object, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its own sum, which comes first: a file that is cut has it still."""
    plain = json.loads(json.dumps(content))
    return {SEAL: seal_of(plain), **plain}


def unsealed(path: Place, content: dict[str, Any]) -> dict[str, Any]:
    """What a JSON file says, without its sum. One of an older version has none.

    Raises:
        RunFolderError: it is not what was written.
    """
    first = next(iter(content), "")  # that of the sum, which a bit may have turned
    rest = {name: value for name, value in content.items() if name != first}
    plain = {name: value for name, value in content.items() if name != SEAL}
    if content.get(SEAL, seal_of(plain)) != seal_of(plain) or (first != SEAL and content.get(first) == seal_of(rest)):
        raise damaged(path, "it is not what was written")
    return plain


def parsed(path: Place, content: bytes) -> dict[str, Any]:
    """The object in a JSON file of this content, without the sum that it may hold.

    Raises:
        RunFolderError: it holds something else, or not what was written.
    """
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise damaged(path, first_line(error)) from error
    if not isinstance(value, dict):
        raise damaged(path, "not an object")
    return unsealed(path, value)


def sum_of(path: Place) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def beside(path: Path) -> Path:
    """The file with the sum of a result whose stage is not done."""
    return path.with_name(path.stem + _BESIDE)


def is_sum(path: Place) -> bool:
    """Whether a file holds the sum of one beside it."""
    return path.name.endswith(_BESIDE)


def recorded(path: Place) -> str | None:
    """The sum of a file as its stage left it; `None` if that is not known.

    Raises:
        RunFolderError: `done.json` is damaged, which would say so.
    """
    if not isinstance(path, Path) or path.name == "done.json":
        return None
    try:
        content = json.loads(beside(path).read_bytes())
        return str(unsealed(path, content)["sum"])
    except Exception:  # it is not there, or no more than a sum is lost
        pass
    for folder in list(path.parents)[:3]:
        if (done := folder / "done.json").exists():
            state = done.stat()
            return _files(done, state.st_mtime_ns, state.st_size).get(path.relative_to(folder).as_posix())
        if (folder / "key.json").exists():
            return None
    return None


def files_of(done: Place, of_key: bool = True) -> Mapping[str, str]:
    """The sums that `done.json` holds.

    Args:
        of_key: it has to be that of the key beside it.

    Raises:
        RunFolderError: it is damaged.
    """
    plain = parsed(done, done.read_bytes())
    if of_key and not _fits(plain, done):
        raise damaged(done, "it is that of another run")
    weights = {f"adapter/{name}": one for name, one in plain.get("weights", {}).items()}  # of an older version
    return {**weights, **plain.get(FILES, {})}


def is_of_key(done: Place) -> bool:
    """Whether `done.json`, which can be read, is of the key beside it, as far as that can be read."""
    return _fits(parsed(done, done.read_bytes()), done)


def _fits(plain: Mapping[str, Any], done: Place) -> bool:
    path = done.parent / "key.json"
    of_key = key_seal(path, path.read_bytes()) if path.exists() else None
    return plain.get(KEY) is None or of_key in (None, plain[KEY])


def key_seal(path: Place, content: bytes) -> str | None:
    """The sum of what a key says, without its revision; `None` if it is not as it was written."""
    try:
        fields = parsed(path, content)
    except RunFolderError:
        return None
    return seal_of(without_revision(fields)) if fields else None


@functools.lru_cache(maxsize=256)
def _files(done: Path, _changed: int, _size: int) -> Mapping[str, str]:
    return files_of(done)


_right: set[tuple[str, int, int, str]] = set()
"""Files that this process has found to be as they should be: place, time of the last change, size and sum."""


def check(path: Place) -> None:
    """Raises RunFolderError if a file is not the one that its stage left, as far as that is known.

    A file that is not there is none of this function's business.

    Raises:
        RunFolderError: it is another one.
    """
    expected = recorded(path)
    if expected is None or not path.exists():
        return
    state = Path(str(path)).stat()
    mark = (str(path), state.st_mtime_ns, state.st_size, expected)
    if mark in _right:
        return
    if sum_of(path) != expected:
        raise damaged(path, "it is not what its stage has left")
    _right.add(mark)
