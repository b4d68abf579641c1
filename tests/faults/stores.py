"""A run on an S3 of this machine, whose store fails the n-th call, one after another.

`same` is a run that ended in one line, and after which the same command gave the bytes of a run on a disk, and asked
nothing whose answer was at the store or on this machine's disk. A call after which the run ends well all the same, as
that which removes the lock, is `same` too.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from faults.tally import Tally
from s3 import s3_server
from samples import run_results, topics_config
from semievol.config import dump
from semievol.pipeline import run

WRONG = ("raw", "other bytes", "asked again")

FAILING = """
import errno, os, sys
import s3fs
from semievol import cli
calls, fails_at, call = 0, int(os.environ["FAILS_AT"]), s3fs.S3FileSystem._call_s3
async def failing(self, method, *arguments, **named):
    global calls
    calls += 1
    if calls == fails_at:
        raise OSError(errno.EIO, "We encountered an internal error. Please try again.")
    return await call(self, method, *arguments, **named)
s3fs.S3FileSystem._call_s3 = failing
code = cli.main(["run", sys.argv[1]])
print("CALLS", calls)
sys.exit(code)
"""
RESULTS = """
import hashlib, json, sys
from semievol.run_folder.folder import RunFolder
folder = RunFolder(sys.argv[1]).path
kinds = (".parquet", "metrics.json", "votes.json")
print(json.dumps({str(path).removeprefix(str(folder) + "/"): hashlib.sha256(path.read_bytes()).hexdigest()
                  for path in folder.rglob("*") if path.is_file() and str(path).endswith(kinds)}))
"""


class FailingStore:
    """Runs whose store fails."""

    def __init__(self, folder: Path, s3: dict[str, str]) -> None:
        self.folder, self.s3, self.tally = folder, s3, Tally()
        run(topics_config(folder))
        self.expected = {
            name: hashlib.sha256(content).hexdigest() for name, content in run_results(folder / "run").items()
        }
        _, _, self.calls = self._run("whole", 0)
        self.asked = self._asked("whole")

    def _process(self, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {
            "PYTHONPATH": os.pathsep.join(paths),
            "ASKED": str(self.folder / f"{name}.asked"),
            "SEMIEVOL_CACHE": str(self.folder / f"{name}.cache"),
        }
        command = [sys.executable, "-c", *arguments]
        return subprocess.run(
            command, env={**os.environ, **self.s3, **own, **environment}, capture_output=True, text=True, check=False
        )

    def _run(self, name: str, fails_at: int) -> tuple[int, str, int]:
        config = topics_config(self.folder, output=f"s3://runs/{name}", backend={"kind": "faulty:CountingBackend"})
        path = self.folder / f"{name}.yaml"
        path.write_text(dump(config), encoding="utf-8")
        done = self._process(name, FAILING, str(path), FAILS_AT=str(fails_at))
        calls = int(done.stdout.rpartition("CALLS ")[2] or 0) if "CALLS" in done.stdout else 0
        return done.returncode, done.stderr, calls

    def _asked(self, name: str) -> Counter[str]:
        path = self.folder / f"{name}.asked"
        return Counter(path.read_text().split() if path.exists() else ())

    def fail(self, n: int) -> None:
        """A run whose store fails call n, from 1, and then the same command."""
        name = f"fails-{n}"
        _, said, _ = self._run(name, n)
        if "Traceback" in said:
            self.tally.add("raw", f"call {n}: {said[-400:]}")
            return
        again, said, _ = self._run(name, 0)
        if again:
            self.tally.add("raw", f"call {n}, then: {said[-400:]}")
            return
        results = json.loads(self._process(name, RESULTS, f"s3://runs/{name}").stdout)
        if results != self.expected:
            self.tally.add("other bytes", f"call {n}: {sorted(set(results.items()) ^ set(self.expected.items()))[:3]}")
        elif more := self._asked(name) - self.asked:
            self.tally.add("asked again", f"call {n}: {sorted(more)[:4]}")
        else:
            self.tally.add("same")


def try_store(folder: Path, step: int = 1, first: int = 1) -> Tally:
    """What came of a failure of every `step`-th call."""
    with s3_server() as environment:
        store = FailingStore(folder, environment)
        for n in range(first, store.calls + 1, step):
            store.fail(n)
        return store.tally
