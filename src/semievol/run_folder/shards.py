"""The shards of a stage: finished ones, those under way, those given up, and requests that failed."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from semievol.config.places import Place
from semievol.records import Response
from semievol.run_folder.damage import damaged
from semievol.run_folder.files import forget_sum, write_sum, write_text
from semievol.run_folder.journal import Journal
from semievol.run_folder.parquet import open_parquet, read_columns, read_rows, write_tables
from semievol.run_folder.place import move, on_disk, same_bytes
from semievol.run_folder.sums import recorded, sum_of
from semievol.run_folder.uploads import open_journal


class Shards:
    """The files of a stage's shards in a folder.

    A shard under way has a journal of its answers, and a finished one a Parquet file of its rows, its part. The journal
    stays beside the part as long as requests that failed may yet be answered.
    """

    def __init__(self, path: Place) -> None:
        self.path = path

    def set_aside(self, index: int, error: str) -> Place:
        """Keeps the error of a shard that was given up."""
        path = self.path / f"part-{index:05d}.error.txt"
        write_text(path, error.rstrip() + "\n")
        return path

    def take_up(self) -> None:
        """Forgets such errors: the shards are tried again."""
        for path in self.errors():
            path.unlink(missing_ok=True)

    def errors(self) -> list[Place]:
        """The errors of shards that were given up."""
        return sorted(self.path.glob("part-*.error.txt"))

    def part_path(self, index: int) -> Place:
        """A shard's finished rows."""
        return self.path / f"part-{index:05d}.parquet"

    def journal(self, index: int) -> Journal:
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
        above: "Shards | None" = None,
    ) -> None:
        """Writes a shard's rows; its journal goes, unless some of it may change yet.

        Args:
            responses: the answers that the rows were made from.
            above: the shards of the stage whose shard of this number the rows were made from, too.
        """
        failed = {response.id: response for response in responses if response.finish == "error"}
        self._write_failed(index, failed)
        path = self.part_path(index)
        if path.exists():
            draft = on_disk(path).with_suffix(".rewritten")
            write_tables(draft, tables, schema)
            if same_bytes(draft, path):
                draft.unlink()
            else:
                self._revise()
                forget_sum(path)
                move(draft, path)
        else:
            before = recorded(path)
            write_tables(path, tables, schema)
            if before is not None and before != sum_of(
                path
            ):  # it was damaged and taken away, and now says something else
                self._revise()
        write_sum(path)
        may_change = any(not response.permanent for response in failed.values())
        if not may_change and (above is None or not above.journal(index).exists):
            self.journal(index).remove()

    def part(self, index: int, ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """A finished shard with these columns, a row for each of the rows with these `ids`.

        Raises:
            RunFolderError: it is gone or damaged, or of other rows.
        """
        path = self.part_path(index)
        table = read_columns(path, ["id", *columns])
        if table["id"].to_pylist() != list(ids):
            raise damaged(path, "its rows are not those of its shard")
        return table

    @property
    def may_change(self) -> bool:
        """Whether answers are under way, or requests have failed that may yet be answered."""
        return bool(self.begun())

    @property
    def revision(self) -> int:
        """How often finished shards have changed after the fact."""
        path = self.path / "revision"
        return int(path.read_text(encoding="utf-8")) if path.exists() else 0

    def forget_begun(self) -> None:
        """Removes the answers of shards that are not finished: nobody knows of which rows they were asked."""
        for index in self.begun() - _numbers(self.parts()):
            self.journal(index).remove()

    def reopen(self, index: int) -> None:
        """Takes a finished shard back: what it was made from has changed."""
        self._revise()
        forget_sum(self.part_path(index))
        self.part_path(index).unlink()

    def _revise(self) -> None:
        write_text(self.path / "revision", str(self.revision + 1))

    def _write_failed(self, index: int, failed: Mapping[str, Response]) -> None:
        path = self.path / f"part-{index:05d}.failed.json"
        if failed:
            reasons = {
                id_: {"reason": response.error, "permanent": response.permanent} for id_, response in failed.items()
            }
            write_text(path, json.dumps(reasons, indent=1, ensure_ascii=False) + "\n")
        else:
            path.unlink(missing_ok=True)

    def failures(self) -> bool:
        """Whether requests have failed."""
        return any(self.path.glob("part-*.failed.json"))

    def parts(self) -> list[Place]:
        """The finished shards in order."""
        return sorted(self.path.glob("part-*.parquet"), key=lambda path: (len(path.name), path.name))

    def _every_part(self) -> Iterator[Place]:
        for index, path in enumerate(self.parts()):
            if path != self.part_path(index):
                raise damaged(self.part_path(index), "it is gone")
            yield path

    def progress(self) -> tuple[int, int]:
        """Finished shards, and answers in the journals of shards under way."""
        parts = self.parts()
        under_way = self.begun() - _numbers(parts)
        return len(parts), sum(self.journal(index).lines for index in under_way)

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


def _numbers(paths: Iterable[Place]) -> set[int]:
    """The shards that files are named after."""
    return {int(path.stem.removeprefix("part-")) for path in paths}
