"""Everything a run leaves on disk; the only module that knows the layout.

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

import filecmp
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from semievol.errors import RunDirError
from semievol.journal import Journal
from semievol.records import Response

logger = logging.getLogger(__name__)

ROW_GROUP = 16 * 1024 * 1024
"""Bytes in memory after which a row group of a Parquet file is written."""

INPUTS = frozenset(
    {"warm", "labeled", "unlabeled", "collaborate", "justify", "rows", "start_from", "weights", "selections"}
)
"""Fields of keys that stand for what earlier stages made, and not for a setting."""

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

    def stage(self, name: str, round_: int = 1) -> "StageDir":
        """The folder of a stage in a round (from 1)."""
        below = self.path if round_ == 1 else self.path / f"round-{round_:02d}"
        return StageDir(below / name)

    def stages(self) -> list[tuple[int, "StageDir"]]:
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


class StageDir:
    """The folder of one stage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    @property
    def adapter_path(self) -> Path:
        """What a training stage leaves: the weights, or what is known of their training at a service."""
        return self.path / "adapter"

    @property
    def training_path(self) -> Path:
        """What a training under way keeps; becomes `adapter_path`."""
        return self.path / "adapter.partial"

    @property
    def weights(self) -> str:
        """Where a finished training's weights lie: a folder, or the name of a model at a service."""
        return str(self.summary().get("model") or self.adapter_path)

    @property
    def rows_path(self) -> Path:
        """Every unlabeled row, kept or not (select)."""
        return self.path / "pseudo_labels.parquet"

    @property
    def metrics_path(self) -> Path:
        """The measured figures (evaluate)."""
        return self.path / "metrics.json"

    def answers_path(self, model: str) -> Path:
        """A model's answers to the test rows (evaluate)."""
        return self.path / f"{model}.parquet"

    def begin(
        self,
        key: Mapping[str, Any],
        revision: int = 0,
        reads_rows: bool = False,
        renew: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> bool:
        """Whether there is work left; a stage that is done under the same key has none.

        Work is left, too, where requests failed that may yet be answered. What is answered then changes the input of
        later stages, which is no other setting: they are made anew, as far as they differ.

        Args:
            revision: how often earlier stages have changed their rows after the fact.
            reads_rows: the result depends on rows of earlier stages that the key does not stand for.
            renew: removes, given the old key, what is to be made anew; everything where it is not set.

        Raises:
            RunDirError: the folder holds results of another key; the fields that differ are named.
        """
        plain = json.loads(json.dumps(key)) | ({"revision": revision} if revision else {})
        if not self._key_path.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            self._write_key(plain)
        elif (old := read_json(self._key_path)) != plain:
            fields = _differences(_without_revision(old), _without_revision(plain))
            inputs_only = all(field.partition(":")[0].partition(".")[0] in INPUTS for field in fields)
            if fields and not (inputs_only and revision > old.get("revision", 0)):
                raise RunDirError(
                    f"{self.path} holds results made with other settings:\n  "
                    + "\n  ".join(fields)
                    + f"\nAdd --redo {self.name} to make this stage and the later ones anew, or choose another output."
                )
            if fields:
                (renew or self.empty)(old)
            if fields or reads_rows:
                (self.path / "done.json").unlink(missing_ok=True)
            self._write_key(plain)
        return not self.is_done or self.may_change

    def _write_key(self, key: Mapping[str, Any]) -> None:
        write_text(self._key_path, _key_text(key))

    def empty(self, old: Mapping[str, Any]) -> None:
        """Removes everything but the key, whatever the old one was."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._key_path:
                path.unlink()

    @property
    def _key_path(self) -> Path:
        return self.path / "key.json"

    @property
    def revision(self) -> int:
        """How often this stage and earlier ones have changed their rows after the fact."""
        return int(read_json(self._key_path).get("revision", 0)) + self._own_revision

    @property
    def _own_revision(self) -> int:
        path = self.path / "revision"
        return int(path.read_text(encoding="utf-8")) if path.exists() else 0

    @property
    def may_change(self) -> bool:
        """Whether answers are under way, or requests have failed that may yet be answered."""
        return any(self.path.rglob("part-*.jsonl"))

    @property
    def is_done(self) -> bool:
        """Whether the stage has finished."""
        return (self.path / "done.json").exists()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Marks the stage as done, with the figures that `status` and the report show."""
        write_text(self.path / "done.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the key: what a later stage's result depends on instead of this one's."""
        key = _without_revision(read_json(self._key_path))
        return hashlib.sha256(_key_text(key).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """The figures of a finished stage."""
        return read_json(self.path / "done.json")

    def set_aside(self, index: int, error: str) -> Path:
        """Keeps the error of a shard that was given up."""
        path = self.path / f"part-{index:05d}.error.txt"
        write_text(path, error.rstrip() + "\n")
        return path

    def take_up(self) -> None:
        """Forgets such errors: the shards are tried again."""
        for path in self.errors():
            path.unlink(missing_ok=True)

    def errors(self) -> list[Path]:
        """The errors of shards that were given up."""
        return sorted(self.path.glob("part-*.error.txt"))

    def part_path(self, index: int) -> Path:
        """A shard's finished rows."""
        return self.path / f"part-{index:05d}.parquet"

    def journal(self, index: int) -> "Journal":
        """The answers of a shard under way."""
        return Journal(self.path / f"part-{index:05d}.jsonl")

    def is_open(self, index: int) -> bool:
        """Whether a shard is not finished, or has requests that may yet be answered."""
        return not self.part_path(index).exists() or self.journal(index).exists

    def write_part(
        self,
        index: int,
        tables: Iterable[pa.Table],
        schema: pa.Schema,
        responses: Iterable[Response],
        above: "StageDir | None" = None,
    ) -> None:
        """Writes a shard's rows; its journal goes, unless some of it may change yet.

        Args:
            responses: the answers that the rows were made from.
            above: the stage whose shard of this number the rows were made from, too.
        """
        failed = {each.id: each for each in responses if each.finish == "error"}
        self._write_failed(index, failed)
        path = self.part_path(index)
        if path.exists():
            beside = path.with_suffix(".rewritten")
            write_tables(beside, tables, schema)
            if filecmp.cmp(path, beside, shallow=False):
                beside.unlink()
            else:
                self._revise()
                beside.replace(path)
        else:
            write_tables(path, tables, schema)
        may_change = any(not each.permanent for each in failed.values())
        if not may_change and (above is None or not above.journal(index).exists):
            self.journal(index).remove()

    def reopen(self, index: int) -> None:
        """Takes a finished shard back: what it was made from has changed."""
        self._revise()
        self.part_path(index).unlink()

    def _revise(self) -> None:
        write_text(self.path / "revision", str(self._own_revision + 1))

    def _write_failed(self, index: int, failed: Mapping[str, Response]) -> None:
        path = self.path / f"part-{index:05d}.failed.json"
        if failed:
            said = {id_: {"reason": each.error, "permanent": each.permanent} for id_, each in failed.items()}
            write_text(path, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
        else:
            path.unlink(missing_ok=True)

    def failures(self) -> Iterator[tuple[str, bool]]:
        """The reason of each request that has failed, and whether it would fail again."""
        for path in sorted(self.path.rglob("part-*.failed.json")):
            for each in read_json(path).values():
                yield each["reason"], each["permanent"]

    def parts(self) -> list[Path]:
        """The finished shards in order."""
        return sorted(self.path.glob("part-*.parquet"), key=lambda path: (len(path.name), path.name))

    def progress(self) -> tuple[int, int]:
        """Finished shards, and answers in the journals of shards under way."""
        open_ = (path for path in self.path.glob("part-*.jsonl") if not path.with_suffix(".parquet").exists())
        return len(self.parts()), sum(path.read_bytes().count(b"\n") for path in open_)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of all shards in order."""
        for path in self.parts():
            yield from read_rows(path)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each shard in order, with these columns or all."""
        for path in self.parts():
            with pq.ParquetFile(path) as file:
                yield file.read(columns, use_threads=False)  # shards are small


def _key_text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _without_revision(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name != "revision"}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            lines += _differences(before, now, f"{prefix}{name}.")
        elif before != now:
            lines.append(f"{prefix}{name}: was {_short(before)}, is now {_short(now)}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Writes rows as one Parquet file that appears whole; the same rows give the same bytes."""
    write_tables(path, [pa.Table.from_pylist(list(rows), schema=schema)], schema)


def write_tables(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Writes tables as one Parquet file that appears whole, holding no more of them than a row group."""
    with _whole(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        group, size = [schema.empty_table()], 0
        for table in tables:
            group.append(table)
            size += table.nbytes
            if size > ROW_GROUP:
                writer.write_table(pa.concat_tables(group))
                group, size = [schema.empty_table()], 0
        writer.write_table(pa.concat_tables(group))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    with pq.ParquetFile(path) as file:
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def iter_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file with these columns, few in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096, columns=list(columns)):
            yield from batch.to_pylist()


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a Parquet file."""
    with pq.ParquetFile(path) as file:
        return file.read(list(columns))


def rows_at(path: Path, positions: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of a Parquet file at these positions, in this order."""
    found: dict[int, dict[str, Any]] = {}
    first = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024, use_threads=False):
            inside = [at for at in positions if first <= at < first + len(batch)]
            rows = batch.take(pa.array([at - first for at in inside], pa.int64())).to_pylist() if inside else []
            found.update(zip(inside, rows, strict=True))
            first += len(batch)
    return [found[at] for at in positions]


def write_text(path: Path, text: str) -> None:
    """Writes a text file that appears whole."""
    with _whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        RunDirError: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunDirError(f"{path}: damaged: {error}; remove the stage's folder to make it anew") from error
    if not isinstance(content, dict):
        raise RunDirError(f"{path}: damaged: not an object; remove the stage's folder to make it anew")
    return content


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A path to write to; renamed to `path` when the block ends, synced to the disk."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
