"""Everything a run leaves on disk; with `stage_dir`, the only module that knows the layout.

    <run>/
      config.yaml   run.json   costs.jsonl   report.html   README.md   logs/run.log   rows/   jobs/   .lock
      warmup/  collaborate/  justify/  select/  evolve/  evaluate/      round 1
      round-02/collaborate/ ...                                         further rounds

A stage's folder holds `key.json` (what its result depends on, written first), its results, and `done.json` (written
last). Files appear whole: they are written beside their place and renamed. Answers of a shard under way are in
`part-00000.jsonl`, one line each; the shard becomes `part-00000.parquet` and the journal goes. Where requests failed,
`part-00000.failed.json` says why, and the journal stays: the next run asks for what is missing. The error of a shard
that was given up is in `part-00000.error.txt`. `jobs/` holds the batches that a service works on. `rows/` holds the
user's rows as the stages read them, and can be made anew.

The folder may be at an address such as `s3://bucket/run`; see `addresses` for what is on a disk then.
"""

import json
import os
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from semievol.addresses import at_address, on_disk, path_of, upload
from semievol.files import read_json, write_text
from semievol.locks import locked
from semievol.stage_dir import StageDir

PROCESS = "SEMIEVOL_PROCESS"
"""Environment variable with a process' name, where several answer for one run."""

LEDGER = "costs.jsonl"
"""What services charged, in a run folder on a disk."""

STAGES = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")


class RunDir:
    """The folder of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = path_of(path)

    def lock(self, lost: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Holds the folder for this process, and creates it.

        Args:
            lost: called where another process has taken the folder, see `locks`.

        Raises:
            RunDirError: another process holds it or has taken it, or it cannot be written.
        """
        return locked(self.path, lost)

    def stage(self, name: str, round_: int = 1) -> StageDir:
        """The folder of a stage in a round (from 1)."""
        below = self.path if round_ == 1 else self.path / f"round-{round_:02d}"
        return StageDir(below / name)

    def stages(self) -> list[tuple[int, StageDir]]:
        """Every stage folder there is, with its round, in the order of the method."""
        rounds = [1, *sorted(int(p.name[6:]) for p in self.path.glob("round-[0-9]*") if p.name[6:].isdigit())]
        found = [(r, self.stage(name, r)) for r in rounds for name in STAGES if name != "evaluate"]
        found.append((1, self.stage("evaluate")))
        return [(r, stage) for r, stage in found if stage.path.exists()]

    def stages_from(self, first: str) -> list[StageDir]:
        """The folders of `first` and of every later stage, in all rounds."""
        index = STAGES.index(first)
        return [
            stage
            for round_, stage in self.stages()
            if STAGES.index(stage.name) >= index or (round_ > 1 and first != "evaluate")
        ]

    @property
    def config_path(self) -> Path:
        """The config as resolved."""
        return self.path / "config.yaml"

    @property
    def rows_path(self) -> Path:
        """Stored examples, each file named by its digest."""
        return self.path / "rows"

    def forget_rows(self, kept: Collection[Path]) -> None:
        """Removes stored examples but those `kept`: those of other data, and what a killed process left."""
        names = {path.name for path in kept}
        for folder in {self.rows_path, on_disk(self.rows_path)}:
            for path in folder.glob("*"):
                if path.name not in names:
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
        """A file on a disk: where the folder is at an address, this machine's, which `upload_logs` takes there."""
        logs = self.path / "logs"
        return on_disk(logs) / f"{name}-{socket.gethostname()}.log" if at_address(logs) else logs / f"{name}.log"

    def upload_logs(self) -> None:
        """Brings the logs to an address; nothing where the folder is on a disk."""
        if at_address(self.path):
            for file in on_disk(self.path / "logs").glob("*.log"):
                upload(file, self.path / "logs" / file.name)

    @property
    def facts_path(self) -> Path:
        """Versions, machine, times and tokens."""
        return self.path / "run.json"

    @property
    def costs_path(self) -> Path:
        """What services charged, a line each; at an address each machine has a file of its own, see `ledger`."""
        return self.path / (f"costs-{socket.gethostname()}.jsonl" if at_address(self.path) else LEDGER)

    @property
    def jobs_path(self) -> Path:
        """Batches that a service is working on, each in a file."""
        return self.path / "jobs"

    @property
    def report_path(self) -> Path:
        """The page a person reads."""
        return self.path / "report.html"

    @property
    def card_path(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    def facts(self) -> dict[str, Any]:
        """What `run.json` holds; empty where there is none yet."""
        return read_json(self.facts_path) if self.facts_path.exists() else {}

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Replaces `run.json`."""
        write_text(self.facts_path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
