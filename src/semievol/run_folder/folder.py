"""Everything a run leaves on disk, and where each file lies.

    <run>/
      config.yaml   run.json   costs.jsonl   report.html   README.md   logs/run.log   rows/   jobs/   .lock
      warmup/  collaborate/  justify/  select/  evolve/  evaluate/      round 1
      round-02/collaborate/ ...                                         further rounds

A stage's folder holds `key.json` (what its result depends on, written first), its results, and `done.json` (written
last). Files appear whole: they are written beside their place and renamed. Answers of a shard under way are in
`part-00000.jsonl`, one line each; the shard becomes `part-00000.parquet` and the journal goes. If requests failed,
`part-00000.failed.json` says why, and the journal stays: the next run asks for what is missing. The error of a shard
that was given up is in `part-00000.error.txt`. `jobs/` holds the batches that a service works on. `rows/` holds the
user's rows as the stages read them, and can be made anew.

`run.json` is the first file of a run, and the mark of its folder: one that is not empty and has no such mark belongs
to somebody else, and is left alone. `before-redo/` holds stages that are made anew, until what takes their place has
begun, see `redo`.

The folder may be at an address such as `s3://bucket/run`; see `place` for what is on a disk then.
"""

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from semievol.config import CONFIG, FACTS
from semievol.config.paths import path_of
from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder import STAGES
from semievol.run_folder.files import read_json, write_bytes, write_sealed, write_text
from semievol.run_folder.locks import locked, process_is_gone
from semievol.run_folder.place import at_address, make_folder, on_disk, reaching, upload
from semievol.run_folder.stage import Stage

PROCESS = "SEMIEVOL_PROCESS"
"""Environment variable with a process' name, if several answer for one run."""

LEDGER = "costs.jsonl"
"""What services charged, in a run folder on a disk."""


OF_THE_SYSTEM = frozenset({".DS_Store", "desktop.ini", "Thumbs.db", ".gitignore", ".gitkeep", "lost+found"})
"""What file systems and their programs leave in a folder that is otherwise empty."""

_ROWS = re.compile(r"[0-9a-f]{64}\.arrow|\.partial\..+|\.fetch-.+")
"""What a run leaves in `rows/`."""

_PARTIAL = re.compile(r"\.partial\.(?P<host>.+)\.(?P<pid>\d+)")
"""What a process is writing there."""


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: str | Place) -> None:
        self.path = path_of(path)

    def claim(self) -> None:
        """Makes the folder a run's if it is new or empty; does nothing if it is one.

        Raises:
            RunFolderError: it is somebody else's, or cannot be written.
        """
        if self.is_run():
            return
        self.require_own()
        try:
            with reaching(self.path):
                make_folder(self.path)
                if at_address(self.path):
                    self.write_facts({"sessions": []})
                else:
                    with suppress(FileExistsError), self.facts_path.open("x", encoding="utf-8") as handle:
                        handle.write('{"sessions": []}\n')
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def require_own(self) -> None:
        """Raises RunFolderError unless the folder is a run's, empty, or not there.

        Raises:
            RunFolderError: it is somebody else's, or no folder.
        """
        if self.is_run():
            return
        try:
            with reaching(self.path):
                names = sorted(path.name for path in self.path.iterdir()) if self.path.exists() else []
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be the run folder: {error.strerror or error}") from error
        if strangers := [name for name in names if name and name not in OF_THE_SYSTEM and name != ".lock"]:
            names_shown = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
            raise RunFolderError(
                f"{self.path}: holds {names_shown} and is no run's folder; set output to a folder that is new or "
                "empty, so that a run removes and replaces nothing of yours"
            )

    def is_run(self) -> bool:
        """Whether a run has made the folder."""
        with reaching(self.path):
            try:
                content = self.facts_path.read_bytes()
            except OSError:
                content = None
            if content is not None and _is_facts(content):
                return True
            return any((self.path / name / "key.json").exists() for name in STAGES)  # of which run.json was lost

    def lock(self, lost: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Holds the folder for this process, and creates it.

        Args:
            lost: called if another process has taken the folder, see `locks`.

        Raises:
            RunFolderError: another process holds it or has taken it, or it cannot be written.
        """
        return locked(self.path, lost)

    def stage(self, name: str, round_: int = 1) -> Stage:
        """The folder of a stage in a round (from 1)."""
        below = self.path if round_ == 1 else self.path / f"round-{round_:02d}"
        return Stage(below / name)

    def stages(self) -> list[tuple[int, Stage]]:
        """Every stage folder there is, with its round, in the order of the method."""
        rounds = [1, *sorted(int(p.name[6:]) for p in self.path.glob("round-[0-9]*") if p.name[6:].isdigit())]
        stages = [(r, self.stage(name, r)) for r in rounds for name in STAGES if name != "evaluate"]
        stages.append((1, self.stage("evaluate")))
        return [(r, stage) for r, stage in stages if stage.path.exists()]

    def stages_from(self, first: str) -> list[tuple[int, Stage]]:
        """The folders of `first` and of every later stage, in all rounds, each with its round."""
        index = STAGES.index(first)
        return [
            (round_, stage)
            for round_, stage in self.stages()
            if STAGES.index(stage.name) >= index or (round_ > 1 and first != "evaluate")
        ]

    @property
    def config_path(self) -> Place:
        """The config as resolved."""
        return self.path / CONFIG

    @property
    def rows_path(self) -> Place:
        """Stored examples, each file named by its digest."""
        return self.path / "rows"

    def forget_rows(self, kept: Collection[Place]) -> None:
        """Removes stored examples but those `kept`: those of other data, and what a killed process left.

        Files of other names are nobody's stored examples, and stay.
        """
        names = {path.name for path in kept}
        for folder in {self.rows_path, on_disk(self.rows_path)}:
            for path in folder.glob("*"):
                if path.name in names or not _ROWS.fullmatch(path.name):
                    continue
                if (of := _PARTIAL.fullmatch(path.name)) and not process_is_gone(of["host"], int(of["pid"])):
                    continue  # it is being written, by a process that will find this one in the folder
                if path.is_dir():
                    shutil.rmtree(on_disk(path))
                else:
                    path.unlink(missing_ok=True)

    @property
    def log_path(self) -> Path:
        """The log of every process that worked here."""
        return self._log_path("run")

    def engine_log_path(self, engine: str) -> Path:
        """What an engine that runs beside this process writes."""
        process = os.environ.get(PROCESS)
        return self._log_path(f"{engine}-{process}" if process else engine)

    def _log_path(self, name: str) -> Path:
        """A file on a disk: if the folder is at an address, this machine's, which `upload_logs` takes there."""
        logs = self.path / "logs"
        return on_disk(logs) / (f"{name}-{socket.gethostname()}.log" if at_address(logs) else f"{name}.log")

    def upload_logs(self) -> None:
        """Brings the logs to an address; nothing if the folder is on a disk."""
        logs = self.path / "logs"
        if at_address(logs):
            for file in on_disk(logs).glob("*.log"):
                upload(file, logs / file.name)

    @property
    def facts_path(self) -> Place:
        """Versions, machine, times and tokens."""
        return self.path / FACTS

    @property
    def costs_path(self) -> Place:
        """What services charged, a line each; at an address each machine has a file of its own, see `ledger`."""
        return self.path / (f"costs-{socket.gethostname()}.jsonl" if at_address(self.path) else LEDGER)

    @property
    def jobs_path(self) -> Place:
        """Batches that a service is working on, each in a file."""
        return self.path / "jobs"

    @property
    def task_path(self) -> Place:
        """What the task was made from, for those who have the run and not its data."""
        return self.path / "task.json"

    @property
    def report_path(self) -> Place:
        """The page a person reads."""
        return self.path / "report.html"

    @property
    def card_path(self) -> Place:
        """The model card."""
        return self.path / "README.md"

    @contextmanager
    def described(self, texts: Mapping[Place, str]) -> Iterator[None]:
        """Writes these files; they stay as they were if the block finds that the folder holds another run's results."""
        before = {path: path.read_bytes() for path in texts if path.exists()}
        for path, text in texts.items():
            if before.get(path) != text.encode():
                write_text(path, text)
        try:
            yield
        except RunFolderError:
            for path, content in before.items():
                write_bytes(path, content)
            raise

    def facts(self) -> dict[str, Any]:
        """What `run.json` holds; empty if there is none yet."""
        # An empty one was begun by a process that was killed.
        is_written = self.facts_path.exists() and self.facts_path.stat().st_size > 0
        return read_json(self.facts_path) if is_written else {}

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Replaces `run.json`."""
        write_sealed(self.facts_path, facts)


def _is_facts(content: bytes) -> bool:
    """Whether a file of this content is a run's `run.json`."""
    if not content:  # a process was killed that had just made it
        return True
    try:
        facts = json.loads(content)
    except ValueError:
        return False
    return isinstance(facts, dict) and ("sessions" in facts or "dtype" in facts)
