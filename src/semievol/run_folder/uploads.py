"""The journal of a shard whose run folder is at an address, where nothing can be appended."""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from semievol.config.places import Address, Place
from semievol.records import Request, Response
from semievol.run_folder.files import write_bytes
from semievol.run_folder.journal import Journal
from semievol.run_folder.place import at_address, on_disk


class UploadedJournal(Journal):
    """Answers go to a file on this machine's disk, which is uploaded when the writer ends, or fails.

    What is at the address says that the shard is under way, and begins with a line of its own: a mark that no other
    upload has. The file on the disk bears it in its name and counts while it is there. So a process that was killed
    goes on if it is started again, one elsewhere begins with what was uploaded last, and a file that somebody
    else's work has made old is never read.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(on_disk(address))
        self._address = address

    @property
    def exists(self) -> bool:
        """Whether the shard is under way, or has requests that may yet be answered."""
        return self._address.exists()

    @property
    def lines(self) -> int:
        """Answers so far, as far as this machine knows."""
        return super().lines if self._found() else 0

    def read(self, requests: Iterable[Request] = ()) -> dict[str, Response]:
        """Finished responses by request id, see `Journal`."""
        return super().read(requests) if self._found() else {}

    @contextmanager
    def writer(self, requests: Iterable[Request] = ()) -> Iterator[Callable[[Response], None]]:
        """A function that appends a response, see `Journal`."""
        if not self._found():
            self._upload(b"")
        before = self.path.stat().st_size
        try:
            with super().writer(requests) as write:
                yield write
        finally:
            if self.path.stat().st_size > before:
                self._upload(self.path.read_bytes())

    def forget(self, ids: Collection[str]) -> None:
        """Drops the answers to these requests, at the address too."""
        if self._found():
            super().forget(ids)
            self._upload(self.path.read_bytes())

    def remove(self) -> None:
        """Forgets the journal, once its shard is at its place."""
        self._address.unlink(missing_ok=True)
        self._drop_files()

    def _found(self) -> bool:
        """Whether there is a journal; then `path` is a file that goes on from what is at the address."""
        try:
            mark, _, uploaded = self._address.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return False
        self.path = self._file(mark.decode())
        if not self.path.exists():
            self._drop_files()
            write_bytes(self.path, uploaded)
        return True

    def _upload(self, content: bytes) -> None:
        mark = uuid.uuid4().hex
        write_bytes(self._address, mark.encode() + b"\n" + content)
        self._drop_files()
        self.path = self._file(mark)
        write_bytes(self.path, content)

    def _file(self, mark: str) -> Path:
        place = on_disk(self._address)
        return place.with_name(f"{place.stem}.{mark}.jsonl")

    def _drop_files(self) -> None:
        place = on_disk(self._address)
        for path in place.parent.glob(f"{place.stem}.*.jsonl"):
            path.unlink(missing_ok=True)


def open_journal(path: Place) -> Journal:
    """The journal at `path`, on a disk or at an address."""
    return UploadedJournal(path) if at_address(path) else Journal(on_disk(path))
