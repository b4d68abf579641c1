"""One process at a time in a run folder."""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder.place import at_address, on_disk

logger = logging.getLogger(__name__)

STALE = 60.0
"""Seconds after which a lock at an address that nobody has renewed belongs to nobody."""


@contextmanager
def locked(folder: Place, lost: Callable[[], None]) -> Iterator[None]:
    """Holds a folder for this process, and creates it on a disk.

    Args:
        lost: called if another process has taken the folder, because this one did not renew its lock for long.

    Raises:
        RunFolderError: another process holds it or has taken it, or it cannot be written.
    """
    with _at_address(folder / ".lock", lost) if at_address(folder) else _on_disk(on_disk(folder)):
        yield


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(f"{folder}: another process is running here; wait for it or stop it") from error
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _at_address(path: Place, lost: Callable[[], None]) -> Iterator[None]:
    lock = AddressLock(path, lost)
    lock.take()
    try:
        yield
    finally:
        lock.give_back()


class AddressLock:
    """An object that names the process which holds a run folder, and is renewed while it does."""

    def __init__(self, path: Place, lost: Callable[[], None] = lambda: None) -> None:
        self._path, self._lost = path, lost
        self._mark = uuid.uuid4().hex
        self._done, self._was_taken = threading.Event(), False
        self._thread = threading.Thread(target=self._renew, name="semievol-lock", daemon=True)

    def take(self) -> None:
        """Takes the folder and keeps it until `give_back`.

        Raises:
            RunFolderError: another process holds it, or it cannot be written.
        """
        holder = self._taken_or_holder()
        if holder is not None and _is_gone(holder):
            logger.warning("%s: process %s on %s is gone", self._path.parent, holder["pid"], holder["host"])
            self._path.unlink(missing_ok=True)
            holder = self._taken_or_holder()
        if holder is not None:
            raise RunFolderError(
                f"{self._path.parent}: process {holder['pid']} on {holder['host']} is running here; wait for it "
                f"or stop it. If it was killed, its lock ends {STALE:.0f} s after its last sign of life"
            )
        self._thread.start()

    def give_back(self) -> None:
        """Leaves the folder to others.

        Raises:
            RunFolderError: another process has taken it before.
        """
        self._done.set()
        self._thread.join()
        if self._was_taken:
            raise RunFolderError(
                f"{self._path.parent}: another process has taken this run over, because this one gave no sign of life "
                f"for {STALE:.0f} s; finished shards are saved"
            )
        self._path.unlink(missing_ok=True)

    def _taken_or_holder(self) -> dict[str, Any] | None:
        """`None` if the lock is this process' now; else who holds it."""
        try:
            self._write("create")
        except FileExistsError:
            pass
        except Exception as error:  # botocore's errors have no base of Python's
            raise RunFolderError(f"{self._path.parent}: cannot be written: {error}") from error
        holder = self._holder()  # a store that cannot create only where nothing is has let the last writer win
        if holder is None:
            raise RunFolderError(f"{self._path.parent}: another process was running here a moment ago; start again")
        return None if holder["mark"] == self._mark else holder

    def _holder(self) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        return content

    def _write(self, mode: str) -> None:
        content = {"host": socket.gethostname(), "pid": os.getpid(), "mark": self._mark, "time": time.time()}
        self._path.fs.pipe_file(self._path.path, json.dumps(content).encode(), mode=mode)  # type: ignore[attr-defined]

    def _renew(self) -> None:
        while not self._done.wait(STALE / 4):
            try:
                holder = self._holder()
                if holder is not None and holder["mark"] != self._mark:
                    self._was_taken = True
                    self._lost()
                    return
                self._write("overwrite")
            except Exception as error:  # a network that is gone for a moment is no reason to give up
                logger.warning("%s: not renewed: %s", self._path, error)


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the process that holds a lock has given no sign of life for long, or does not exist on this machine."""
    return time.time() - holder["time"] > STALE or process_is_gone(holder["host"], holder["pid"])


def process_is_gone(host: str, pid: int) -> bool:
    """Whether a process does not exist on this machine; no for one on another machine, of which nobody here knows."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False
