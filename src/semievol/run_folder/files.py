"""Files that appear whole, or not at all, on a disk or at an address: JSON and text."""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semievol.config.places import Place
from semievol.run_folder.damage import damaged
from semievol.run_folder.locks import process_is_gone
from semievol.run_folder.place import at_address, on_disk, sync_folder, upload
from semievol.run_folder.sums import beside, check, parsed, sealed, sum_of


def write_text(path: Place, text: str) -> None:
    """Writes a text file that appears whole."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_bytes(path: Place, content: bytes) -> None:
    """Writes a file that appears whole."""
    with whole(path) as draft:
        draft.write_bytes(content)


def write_sealed(path: Place, content: Mapping[str, Any]) -> None:
    """Writes a JSON file that appears whole, with the sum of what it says."""
    write_text(path, sealed_text(content))


def sealed_text(content: Mapping[str, Any]) -> str:
    """A JSON file with the sum of what it says."""
    return json.dumps(sealed(content), indent=2, ensure_ascii=False) + "\n"


def write_sum(path: Place) -> None:
    """Writes down by what a result is known again, until its stage is done; nothing at an address."""
    if not at_address(path):
        write_sealed(beside(on_disk(path)), {"sum": sum_of(path)})


def forget_sum(path: Place) -> None:
    """Forgets it, before another file takes the place of the result."""
    if not at_address(path):
        beside(on_disk(path)).unlink(missing_ok=True)


def read_json(path: Place) -> dict[str, Any]:
    """The object in a JSON file, without the sum that it may hold.

    Raises:
        RunFolderError: it holds something else, or not what was written.
    """
    check(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise damaged(path, "it is gone") from error
    return parsed(path, content)


@contextmanager
def whole(path: Place) -> Iterator[Path]:
    """A path to write to; renamed to `path` when the block ends, synced to the disk, or uploaded to its address.

    Its name is of this process alone, among all machines that share a network disk. If the block fails, there is
    nothing to upload.
    """
    if at_address(path):
        with tempfile.TemporaryDirectory(prefix="semievol-") as scratch:
            yield Path(scratch, path.name)
            upload(Path(scratch, path.name), path)
        return
    target = on_disk(path)
    draft = draft_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        with draft.open("rb") as handle:
            os.fsync(handle.fileno())
        draft.replace(target)
        sync_folder(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """The place beside `path` at which this process writes what becomes it."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")


def sweep(folder: Path) -> None:
    """Removes what processes of this machine that are gone were writing in a folder, and had not brought to its place.

    Nobody else may be writing there.
    """
    draft = re.compile(rf"\..+\.{re.escape(socket.gethostname())}\.(\d+)")
    for path in [*folder.rglob(".*"), *folder.rglob("part-*.rewritten")]:
        writer = draft.fullmatch(path.name)
        if path.suffix == ".rewritten" or (writer and process_is_gone(socket.gethostname(), int(writer[1]))):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def readable_as(file: Path, *others: Path) -> None:
    """Lets those read other files who may read this one: safetensors writes for the owner's eyes alone."""
    for other in others:
        other.chmod(file.stat().st_mode)
