"""The folder of one stage: its key, its results, and whether it is done."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder.files import read_json, write_text
from semievol.run_folder.keys import INPUTS, differences, key_text, without_revision
from semievol.run_folder.place import make_folder, remove_folder
from semievol.run_folder.shards import Shards


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
        plain = json.loads(json.dumps(key)) | ({"revision": revision} if revision else {})
        if not self._key_path.exists():
            make_folder(self.path)
            self._write_key(plain)
        elif (old := read_json(self._key_path)) != plain:
            changes = differences(without_revision(old), without_revision(plain))
            fields = [line for line in changes if _field(line) not in figures]
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
            if changes or reads_rows:
                (self.path / "done.json").unlink(missing_ok=True)
                self.shards.forget_begun()
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


def _field(difference: str) -> str:
    """The field of a key that a line of `differences` is about."""
    return difference.partition(":")[0].partition(".")[0]
