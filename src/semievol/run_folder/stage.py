"""The folder of one stage: its key, its results, and whether it is done."""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder.damage import damaged
from semievol.run_folder.files import read_json, sealed_text, write_sealed, write_text
from semievol.run_folder.keys import INPUTS, differences, key_text, without_revision
from semievol.run_folder.place import at_address, make_folder, on_disk, remove_folder
from semievol.run_folder.shards import Shards
from semievol.run_folder.sums import FILES, KEY, check, files_of, is_sum, key_seal, recorded, seal_of, sum_of

logger = logging.getLogger(__name__)

_NO_RESULTS = frozenset({"adapter.partial", "tensorboard"})
"""Folders in that of a stage whose files it does not answer for."""


class Stage:
    """The folder of one stage: its key, its results, and whether it is done."""

    def __init__(self, path: Place, name: str | None = None) -> None:
        """The folder at `path`, which has the stage's name; below that of the stage `name` if it is a part of one."""
        self.path = path
        self.name = name or path.name
        self.shards = Shards(path)

    @property
    def rows_path(self) -> Place:
        """Every unlabeled row, kept or not (select)."""
        return self.path / "pseudo_labels.parquet"

    @property
    def metrics_path(self) -> Place:
        """The measured figures (evaluate)."""
        return self.path / "metrics.json"

    @property
    def known_path(self) -> Place:
        """What is said of the labeled rows out of fold, with its probability (justify)."""
        return self.path / "out_of_fold.parquet"

    def answers_path(self, model: str) -> Place:
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

        Work is left, too, if requests failed that may yet be answered. What is answered then changes the input of
        later stages, which is no other setting: they are made anew, as far as they differ.

        Args:
            revision: how often earlier stages have changed their rows after the fact.
            reads_rows: the result depends on rows of earlier stages that the key does not stand for.
            renew: removes, given the old key, what is to be made anew; everything if it is not set.
            figures: fields on which only the stage's figures depend, which are computed anew from what is there.

        Raises:
            RunFolderError: the folder holds results of another key; the fields that differ are named.
        """
        plain = json.loads(json.dumps(key, sort_keys=True)) | ({"revision": revision} if revision else {})
        if self._was_written_for(plain):
            pass
        elif not self._key_path.exists():
            make_folder(self.path)
            write_sealed(self._key_path, plain)
        elif (old := read_json(self._key_path)) != plain:
            changes = differences(without_revision(old), without_revision(plain))
            fields = [line for line in changes if _field(line) not in figures]
            inputs_only = all(_field(line) in INPUTS for line in fields)
            if fields and not (inputs_only and revision > old.get("revision", 0)):
                raise RunFolderError(
                    f"{self.path} holds results made with other settings, by its key.json:\n  "
                    + "\n  ".join(fields)
                    + "\nTo keep these results, choose another output or take the old settings. "
                    f"--redo {self.name} makes this stage and the later ones anew, and removes what they hold, "
                    "answers that were paid for too."
                )
            if fields:
                (renew or self.empty)(old)
            if changes or reads_rows:
                (self.path / "done.json").unlink(missing_ok=True)
                self.shards.forget_begun()
            write_sealed(self._key_path, plain)
        if self.is_done and not self.may_change:
            if read_json(self.path / "done.json").get(KEY) in (None, seal_of(without_revision(plain))):
                self._forget_sums()  # a process may have been killed before it came to that
                return False
            logger.warning("%s: done.json is that of another run; the stage is finished again", self.path)
        (self.path / "done.json").unlink(missing_ok=True)  # its sums and figures are those of before
        return True

    def _was_written_for(self, key: Mapping[str, Any]) -> bool:
        """Whether what lies in the folder is of this key; a key that is damaged or gone is written again then.

        Raises:
            RunFolderError: it is damaged or gone, and nobody knows any more of which key the results are.
        """
        text, path = sealed_text(key), self._key_path
        content = path.read_bytes() if path.exists() else b""
        if content == text.encode():
            return True
        if seal_of(key).encode() not in content:
            done, wanted_seal = self.path / "done.json", seal_of(without_revision(key))
            is_of_results = done.exists() and read_json(done).get(KEY) == wanted_seal
            seal = key_seal(path, content)
            if seal is not None and (not is_of_results or seal == wanted_seal):
                return False
            if not is_of_results:
                if self._holds_results():
                    raise damaged(path, "it cannot be read" if content else "it is gone")
                path.unlink(missing_ok=True)
                return False
        logger.warning("%s: was damaged; by its sum, it said what today's settings say", path)
        write_text(path, text)
        return True

    def _holds_results(self) -> bool:
        """Whether there is anything that depends on the key, which is the first file of a stage."""
        if self.is_done or self.shards.parts() or self.shards.begun():
            return True
        return any(path.is_file() for path in (self.path / "adapter").rglob("*"))

    def empty(self, old: Mapping[str, Any]) -> None:
        """Removes everything but the key, whatever the old one was."""
        for path in self.path.iterdir():
            if path.is_dir():
                remove_folder(path)
            elif path.name != self._key_path.name:
                path.unlink()

    @property
    def _key_path(self) -> Place:
        return self.path / "key.json"

    @property
    def revision(self) -> int:
        """How often this stage and earlier ones have changed their rows after the fact."""
        below = sum(Shards(path.parent).revision for path in self.path.glob("*/revision"))
        return int(read_json(self._key_path).get("revision", 0)) + self.shards.revision + below

    @property
    def may_change(self) -> bool:
        """Whether answers are under way, or requests have failed that may yet be answered."""
        return any(self.path.rglob("part-*.jsonl"))

    @property
    def is_done(self) -> bool:
        """Whether the stage has finished."""
        return (self.path / "done.json").exists()

    def failures(self) -> Iterator[tuple[str, bool]]:
        """The reason of each request that has failed, and whether it would fail again."""
        for path in sorted(self.path.rglob("part-*.failed.json")):
            for failure in read_json(path).values():
                yield failure["reason"], failure["permanent"]

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Marks the stage as done, with the figures that `status` and the report show, and the sums of its files.

        Raises:
            RunFolderError: a file is not as it was written.
        """
        folder = on_disk(self.path)
        (self.path / "done.json").unlink(missing_ok=True)
        results = [] if at_address(self.path) else [path for path in self.result_files() if path.suffix != ".jsonl"]
        for path in results:
            check(path)
        sums = {path.relative_to(folder).as_posix(): recorded(path) or sum_of(path) for path in results}
        marks: dict[str, Any] = {FILES: sums} if sums else {}
        if self._key_path.exists():
            marks[KEY] = seal_of(without_revision(read_json(self._key_path)))
        write_sealed(self.path / "done.json", {**summary, **marks})
        self._forget_sums()

    def _forget_sums(self) -> None:
        """Removes the sums beside its files, which are in `done.json` too."""
        if not at_address(self.path):
            for path in on_disk(self.path).rglob("*.json"):
                if is_sum(path) and (path.parent == self.path or not (path.parent / "key.json").exists()):
                    path.unlink()

    def result_files(self, below: Path | None = None) -> Iterator[Path]:
        """The files on a disk that it answers for; what may change yet is left out, and what has a key of its own."""
        paths = sorted((below or on_disk(self.path)).iterdir())
        may_change = any(path.suffix == ".jsonl" for path in paths)
        for path in paths:
            if path.is_dir():
                if path.name not in _NO_RESULTS and not (path / "key.json").exists():
                    yield from self.result_files(path)
            elif path.suffix == ".jsonl":
                yield path
            elif may_change and path.name.startswith(("part-", "revision")):
                continue
            elif not path.name.startswith(".") and path.name not in ("key.json", "done.json") and not is_sum(path):
                yield path

    def sums(self) -> Mapping[str, str]:
        """The SHA-256 of each file of a finished stage by its place in the folder; none at an address."""
        return files_of(self.path / "done.json")

    def check(self) -> None:
        """Raises RunFolderError if the files of a finished stage are not those that it left, as far as that is known.

        Raises:
            RunFolderError: one is gone, or another one.
        """
        for name in self.sums() if isinstance(self.path, Path) else ():
            path = self.path / name
            if not path.exists() and path != self.metrics_path:  # which are computed again
                raise damaged(path, "it is gone")
            check(path)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the key: what a later stage's result depends on instead of this one's."""
        key = without_revision(read_json(self._key_path))
        return hashlib.sha256(key_text(key).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """The figures of a finished stage."""
        content = read_json(self.path / "done.json")
        return {name: value for name, value in content.items() if name not in (KEY, FILES, "weights")}


def _field(difference: str) -> str:
    """The field of a key that a line of `differences` is about."""
    return difference.partition(":")[0].partition(".")[0]
