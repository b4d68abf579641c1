"""A run killed, or refused by the system, before each of its operations on files, one after another.

`same` is a run after which the same command gave the same bytes, asked nothing whose answer was on disk, and left no
file that an undisturbed run does not leave.
"""

import errno
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.tally import Tally
from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.config import Config
from semievol.errors import SemiEvolError, refused_by_system
from semievol.pipeline import run
from semievol.records import Request

WRONG = ("raw", "other bytes", "asked again", "left over")

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
TIMES = ("done.json", "run.json", "report.html", "README.md", "config.yaml", "run.log", ".lock")
"""Files whose bytes hold times, or the name of the run's folder."""

Strike = Callable[[], None]


class Operations:
    """Counts the operations on files below a folder, and strikes before the n-th."""

    def __init__(self) -> None:
        self.root, self.strike, self.left, self.count = "", None, -1, 0
        self._fsync = os.fsync
        sys.addaudithook(self._hook)  # it stays until the process ends, and does nothing without a root

    @contextmanager
    def before(self, root: Path, n: int, strike: Strike | None) -> Iterator["Operations"]:
        self.root, self.left, self.strike, self.count = str(root), n, strike, 0
        os.fsync = self._synced
        try:
            yield self
        finally:
            self.root, self.strike = "", None
            os.fsync = self._fsync

    def _synced(self, handle: int) -> None:
        self._hit()
        self._fsync(handle)

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.root:
            return
        if event == "open":
            path, _, flags = arguments
            is_write = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
            if is_write and isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.root):
                self._hit()
        elif event in CHANGES and any(
            isinstance(a, str | os.PathLike) and str(a).startswith(self.root) for a in arguments
        ):
            self._hit()

    def _hit(self) -> None:
        self.count += 1
        if self.left >= 0 and self.count == self.left + 1 and self.strike is not None:
            strike, self.strike = self.strike, None
            strike()


OPERATIONS = Operations()


class Logged(FakeBackend):
    """Writes down outside of the run what it is asked, and what was taken from it: on disk by then."""

    log = Path(os.devnull)

    def generate(self, requests, finished=(), stop=lambda: False):
        with Logged.log.open("a") as log:
            for request in requests:
                if request.id in finished or stop():
                    continue
                log.write(f"A {_name(request)}\n")
                log.flush()
                yield from super().generate([request])
                log.write(f"D {_name(request)}\n")
                log.flush()


def _name(request: Request) -> str:
    return f"{request.id}|{request.sampling.seed}|{request.response is None}"


def config_of(folder: Path) -> Config:
    return topics_config(folder, rounds=2, backend={"kind": "faults.operations:Logged"}, collaborate={"n": 2})


def _bytes(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path).as_posix(): b"" if file.name in TIMES else file.read_bytes() for file in files}


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refused() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class Struck:
    """Runs that are struck at each of their operations."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config, self.tally = folder, config_of(folder), Tally()
        Logged.log = folder / "asked.log"
        with OPERATIONS.before(folder / "run", -1, None) as operations:
            run(self.config)
        self.operations = operations.count
        self.expected = _bytes(folder / "run")
        self.asked = self._asked()

    def _asked(self) -> Counter[str]:
        return Counter(Logged.log.read_text().splitlines())

    def kill(self, n: int) -> None:
        """A run that is killed before operation n, from 0, as by a power cut or SIGKILL."""
        self._clear()
        process = os.fork()
        if process == 0:
            try:
                silent = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silent, 1)
                os.dup2(silent, 2)
                with OPERATIONS.before(self.folder / "run", n, killed):
                    run(self.config)
            finally:
                os._exit(1)
        os.waitpid(process, 0)
        self._judge(f"killed before operation {n}")

    def refuse(self, n: int) -> None:
        """A run of which operation n is refused: the disk is full."""
        self._clear()
        try:
            with OPERATIONS.before(self.folder / "run", n, refused):
                run(self.config)
        except Exception as error:
            if not isinstance(error, SemiEvolError) and refused_by_system(error) is None:
                self.tally.add("raw", f"operation {n} refused: {type(error).__name__}: {error}")
                return
        self._judge(f"operation {n} refused")

    def _clear(self) -> None:
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        Logged.log.write_text("")

    def _judge(self, what: str) -> None:
        on_disk = Counter(line[2:] for line in self._asked().elements() if line.startswith("D "))
        before = Counter(line[2:] for line in self._asked().elements() if line.startswith("A "))
        try:
            run(self.config)
        except Exception as error:
            self.tally.add("raw", f"{what}, then: {type(error).__name__}: {error}")
            return
        after = Counter(line[2:] for line in self._asked().elements() if line.startswith("A ")) - before
        once = Counter({line[2:]: count for line, count in self.asked.items() if line.startswith("A ")})
        again = [name for name in after if on_disk[name] + after[name] > once[name]]
        left = _bytes(self.folder / "run")
        if wrong := sorted(name for name in self.expected if left.get(name) != self.expected[name]):
            self.tally.add("other bytes", f"{what}: {wrong[:4]}")
        elif again:
            self.tally.add("asked again", f"{what}: {again[:4]}")
        elif more := sorted(set(left) - set(self.expected)):
            self.tally.add("left over", f"{what}: {more[:4]}")
        else:
            self.tally.add("same")


def try_kills(folder: Path, step: int = 1, first: int = 0) -> Tally:
    """What came of a kill before every `step`-th operation."""
    struck = Struck(folder)
    for n in range(first, struck.operations, step):
        struck.kill(n)
    return struck.tally


def try_refusals(folder: Path, step: int = 1, first: int = 0) -> Tally:
    """What came of a full disk at every `step`-th operation."""
    struck = Struck(folder)
    for n in range(first, struck.operations, step):
        struck.refuse(n)
    return struck.tally
