"""Folders on a disk, and at addresses such as `s3://bucket/run`.

A path on a disk is a `pathlib.Path`; one at an address has its methods, over fsspec. An object store has no folders to
make, cannot append and cannot rename, and libraries that train, answer or map memory want a disk. So what such work
needs lies on this machine's disk, at `on_disk(path)`, and is uploaded or fetched whole.
"""

import errno
import filecmp
import hashlib
import json
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from typing_extensions import TypeIs

from semievol.config.cache import cache_folder
from semievol.config.paths import in_one_line, path_of
from semievol.config.places import Address, Place
from semievol.errors import RunFolderError, SemiEvolError, first_line


def at_address(path: Place) -> TypeIs[Address]:
    """Whether a path is at an address, and not on a disk."""
    return not isinstance(path, Path)


def on_disk(path: Place) -> Path:
    """A path itself; for one at an address, the place on this machine's disk of what belongs to it."""
    if isinstance(path, Path):
        return path
    address = cast(Address, path)
    parts = [part for part in address.path.split("/") if part not in ("", ".", "..")]
    return cache_folder().joinpath("addresses", address.protocol, *parts)


def make_folder(path: Place) -> None:
    """Makes a folder on a disk; at an address there is one once something lies in it."""
    if isinstance(path, Path):
        path.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Brings to the disk which files a folder holds, so that a file renamed there is there after a power cut."""
    if os.name == "nt":  # whose folders cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network disks know no such thing
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def sync_files(folder: Path) -> None:
    """Brings a folder with all that lies in it to the disk."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as handle:
                os.fsync(handle.fileno())


def remove_folder(path: Place) -> None:
    """Removes a folder and what of it is on this machine's disk; nothing if there is none."""
    shutil.rmtree(on_disk(path), ignore_errors=at_address(path) or not path.exists())
    if at_address(path) and path.exists():
        path.fs.rm(path.path, recursive=True)


def move_folder(source: Place, path: Place) -> None:
    """Moves a folder and what of it is on this machine's disk: whole on a disk, file by file at an address.

    Raises:
        RunFolderError: the address cannot be written.
    """
    source_on_disk, target_on_disk = on_disk(source), on_disk(path)
    if source_on_disk.exists():
        target_on_disk.parent.mkdir(parents=True, exist_ok=True)
        source_on_disk.rename(target_on_disk)
    if at_address(source) and at_address(path):
        with in_one_line(path, "cannot be written"):
            for file in sorted((entry for entry in source.rglob("*") if entry.is_file()), key=str):
                file.fs.mv(file.path, f"{path.path}/{_below(source, file)}")


def same_bytes(file: Path, path: Place) -> bool:
    """Whether a file on a disk holds what lies at `path`."""
    if at_address(path):
        return file.read_bytes() == path.read_bytes()
    return filecmp.cmp(file, on_disk(path), shallow=False)


def move(source: Path, path: Place) -> None:
    """Moves a file or folder of a disk to `path`; a file appears whole, of a folder each of its files.

    Raises:
        RunFolderError: the address cannot be written.
    """
    if not at_address(path):
        source.replace(on_disk(path))
    elif source.is_dir():
        for file in sorted(entry for entry in source.rglob("*") if entry.is_file()):
            upload(file, path.joinpath(*file.relative_to(source).parts))
        shutil.rmtree(source)
    else:
        upload(source, path)
        source.unlink()


def upload(file: Path, path: Address) -> None:
    """Copies a file to an address, where it appears whole or not at all.

    Raises:
        RunFolderError: the address cannot be written.
    """
    with in_one_line(path, "cannot be written"):
        path.fs.put_file(str(file), path.path)


def fetched(path: Place) -> Path:
    """A file on this machine's disk whose name is the digest of its content: fetched once if it is at an address.

    Raises:
        RunFolderError: it cannot be read.
    """
    file = on_disk(path)
    if at_address(path) and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fetch-") as scratch:
            _download(path, Path(scratch, file.name)).replace(file)
    return file


def weights_on_disk(where: str) -> str:
    """Weights as an engine or a trainer opens them: those at an address are fetched once to this machine's disk.

    A training that took the place of another has other files, and is fetched anew.

    Raises:
        RunFolderError: they cannot be read.
    """
    folder = path_of(where)
    if "://" not in where or not at_address(folder):
        return where
    with in_one_line(folder, "cannot be read"):
        files = sorted((path for path in folder.rglob("*") if path.is_file()), key=str)
        states = {_below(folder, path): path.fs.ukey(path.path) for path in files}
    if not files:
        raise RunFolderError(f"{where}: there are no weights here")
    target = on_disk(folder) / hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()[:32]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            downloaded = Path(scratch, "whole")
            for path in files:
                _download(path, downloaded / _below(folder, path))
            try:
                downloaded.rename(target)
            except OSError:
                if not target.exists():  # else another process was faster
                    raise
    return str(target)


def _below(folder: Address, path: Address) -> str:
    """The part of a path at an address that is below the folder's."""
    return str(path.path.removeprefix(folder.path.rstrip("/") + "/"))


def _download(path: Address, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with in_one_line(path, "cannot be read"):
        path.fs.get_file(path.path, str(file))
    return file


@contextmanager
def reaching(path: Place) -> Iterator[None]:
    """If `path` is at an address, what its file system raises in the block as a `RunFolderError`.

    Raises:
        RunFolderError: the address cannot be read or written any more.
    """
    try:
        yield
    except (SemiEvolError, FileNotFoundError):
        raise
    except Exception as error:
        came_by = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
        if not at_address(path) or not any(name.partition(".")[0] == "fsspec" for name in came_by):
            raise
        raise RunFolderError(
            f"{path}: cannot be reached: {first_line(error)}; the same command goes on from here"
        ) from error
