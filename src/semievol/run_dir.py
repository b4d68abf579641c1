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
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from semievol.errors import RunDirError
from semievol.files import read_json, write_text
from semievol.stage_dir import StageDir

PROCESS = "SEMIEVOL_PROCESS"
"""Environment variable with a process' name, where several answer for one run."""

STAGES = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")


class RunDir:
    """The folder of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for this process, and creates it.

        Raises:
            RunDirError: another process holds it, or it cannot be written.
        """
        held = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held.acquire(timeout=0)
        except Timeout as error:
            raise RunDirError(f"{self.path}: another process is running here; wait for it or stop it") from error
        except OSError as error:
            raise RunDirError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        try:
            yield
        finally:
            held.release()

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

    def redo(self, first: str) -> None:
        """Forgets `first` and every later stage, in all rounds."""
        index = STAGES.index(first)
        for round_, stage in self.stages():
            if STAGES.index(stage.name) >= index or (round_ > 1 and first != "evaluate"):
                shutil.rmtree(stage.path)

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
        for path in set(self.rows_path.glob("*")) - set(kept):
            path.unlink(missing_ok=True)

    @property
    def log_path(self) -> Path:
        """The log of every process that worked here."""
        return self.path / "logs" / "run.log"

    def engine_log_path(self, engine: str) -> Path:
        """What an engine that runs beside this process writes."""
        process = os.environ.get(PROCESS)
        return self.path / "logs" / (f"{engine}-{process}.log" if process else f"{engine}.log")

    @property
    def facts_path(self) -> Path:
        """Versions, machine, times and tokens."""
        return self.path / "run.json"

    @property
    def costs_path(self) -> Path:
        """What services charged, a line each."""
        return self.path / "costs.jsonl"

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
