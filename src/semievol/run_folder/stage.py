"""The folder of one stage: its key, its shards, its results, and whether it is done."""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from semievol.errors import RunFolderError
from semievol.records import Response
from semievol.run_folder.files import damaged, open_parquet, read_json, read_rows, write_tables, write_text
from semievol.run_folder.journal import Journal
from semievol.run_folder.keys import INPUTS, differences, key_text, without_revision
from semievol.run_folder.place import at_address, make_folder, move, on_disk, remove_folder, same_bytes
from semievol.run_folder.uploads import open_journal


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
        """What a training under way keeps; becomes `adapter_path`, and at an address, which cannot rename, is it."""
        return self.adapter_path if at_address(self.path) else self.path / "adapter.partial"

    def training_folder(self, hosted: bool) -> Path:
        """The folder for a trainer to fill, with what a training that was killed has left there.

        At an address only what is known of a training at a service is kept there; others go on from this machine's
        disk, and start again on another machine.
        """
        if at_address(self.path):
            if hosted:
                return self.training_path
            folder = on_disk(self.path / "adapter.partial") / self.digest
            for other in folder.parent.glob("*"):
                if other != folder:  # of rows or settings of before
                    shutil.rmtree(other)
            return folder
        if self.adapter_path.exists():  # killed before the stage was marked as done
            shutil.rmtree(self.training_path, ignore_errors=True)
            self.adapter_path.rename(self.training_path)
        return self.training_path

    def take_weights(self, folder: Path) -> None:
        """Makes what a trainer has left in `folder` the stage's.

        Raises:
            RunFolderError: there is nothing: processes on another machine have written to their own disk.
        """
        if at_address(folder):
            return
        if not folder.is_dir():
            raise RunFolderError(
                f"{folder}: the training has left nothing on this machine's disk; "
                "where other machines train, set output to a path on a disk that all share"
            )
        move(folder, self.adapter_path)

    @property
    def weights(self) -> str:
        """Where a finished training's weights lie: a folder, or the name of a model at a service."""
        return str(self.summary().get("model") or self.adapter_path)

    def weight_sums(self) -> dict[str, str]:
        """The SHA-256 of each file of the weights on a disk, by its place below `adapter_path`."""
        if at_address(self.path):
            return {}
        files = sorted(path for path in self.adapter_path.rglob("*") if path.is_file())
        return {path.relative_to(self.adapter_path).as_posix(): _sum(path) for path in files}

    def check_weights(self) -> None:
        """Does nothing where the weights are those that the training left, as far as that is known.

        Raises:
            RunFolderError: a file of theirs is gone, or another one.
        """
        for name, left in self.summary().get("weights", {}).items():
            path = self.adapter_path / name
            if not path.exists():
                raise damaged(path, "it is gone")
            if _sum(path) != left:
                raise damaged(path, "it is not what the training has left")

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
        figures: Collection[str] = (),
    ) -> bool:
        """Whether there is work left; a stage that is done under the same key has none.

        Work is left, too, where requests failed that may yet be answered. What is answered then changes the input of
        later stages, which is no other setting: they are made anew, as far as they differ.

        Args:
            revision: how often earlier stages have changed their rows after the fact.
            reads_rows: the result depends on rows of earlier stages that the key does not stand for.
            renew: removes, given the old key, what is to be made anew; everything where it is not set.
            figures: fields on which only the stage's figures depend, which are computed anew from what is there.

        Raises:
            RunFolderError: the folder holds results of another key; the fields that differ are named.
        """
        plain = json.loads(json.dumps(key)) | ({"revision": revision} if revision else {})
        if not self._key_path.exists():
            make_folder(self.path)
            self._write_key(plain)
        elif (old := read_json(self._key_path)) != plain:
            changed = differences(without_revision(old), without_revision(plain))
            fields = [line for line in changed if _field(line) not in figures]
            inputs_only = all(_field(line) in INPUTS for line in fields)
            if fields and not (inputs_only and revision > old.get("revision", 0)):
                raise RunFolderError(
                    f"{self.path} holds results made with other settings:\n  "
                    + "\n  ".join(fields)
                    + "\nTo keep these results, choose another output or take the old settings. "
                    f"--redo {self.name} makes this stage and the later ones anew, and removes what they hold, "
                    "answers that were paid for too."
                )
            if fields:
                (renew or self.empty)(old)
            if changed or reads_rows:
                (self.path / "done.json").unlink(missing_ok=True)
                for index in self.begun() - _numbers(self.parts()):  # nobody knows of which rows this was asked
                    self.journal(index).remove()
            self._write_key(plain)
        return not self.is_done or self.may_change

    def _write_key(self, key: Mapping[str, Any]) -> None:
        write_text(self._key_path, key_text(key))

    def empty(self, old: Mapping[str, Any]) -> None:
        """Removes everything but the key, whatever the old one was."""
        for path in self.path.iterdir():
            if path.is_dir():
                remove_folder(path)
            elif path.name != self._key_path.name:
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
        key = without_revision(read_json(self._key_path))
        return hashlib.sha256(key_text(key).encode()).hexdigest()

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
        return open_journal(self.path / f"part-{index:05d}.jsonl")

    def closed(self) -> set[int]:
        """The shards that are finished and none of whose requests may yet be answered."""
        return _numbers(self.parts()) - self.begun()

    def begun(self) -> set[int]:
        """The shards that are under way, or have requests that may yet be answered."""
        return _numbers(self.path.glob("part-*.jsonl"))

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
            beside = on_disk(path).with_suffix(".rewritten")
            write_tables(beside, tables, schema)
            if same_bytes(beside, path):
                beside.unlink()
            else:
                self._revise()
                move(beside, path)
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

    def _every_part(self) -> Iterator[Path]:
        for index, path in enumerate(self.parts()):
            if path != self.part_path(index):
                raise damaged(self.part_path(index), "it is gone")
            yield path

    def progress(self) -> tuple[int, int]:
        """Finished shards, and answers in the journals of shards under way."""
        finished = self.parts()
        under_way = self.begun() - _numbers(finished)
        return len(finished), sum(self.journal(index).lines for index in under_way)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of all shards in order.

        Raises:
            RunFolderError: a shard is gone or damaged.
        """
        for path in self._every_part():
            yield from read_rows(path)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each shard in order, with these columns or all.

        Raises:
            RunFolderError: a shard is gone or damaged.
        """
        for path in self._every_part():
            with open_parquet(path) as file:
                yield file.read(columns, use_threads=False)  # shards are small


def _sum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _field(difference: str) -> str:
    """The field of a key that a line of `differences` is about."""
    return difference.partition(":")[0].partition(".")[0]


def _numbers(paths: Iterable[Path]) -> set[int]:
    """The shards that files are named after."""
    return {int(path.stem.removeprefix("part-")) for path in paths}


def check_weights(where: str) -> None:
    """Does nothing where the weights that a stage left on a disk are as it left them; other weights are not looked at.

    Raises:
        RunFolderError: a file of theirs is gone, or another one.
    """
    folder = Path(where)
    if "://" not in where and folder.name == "adapter" and (stage := StageDir(folder.parent)).is_done:
        stage.check_weights()
