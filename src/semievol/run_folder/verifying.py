"""Whether a run is whole: every file against the sum that its stage left, and what is damaged taken away.

What is taken away is made again by the same command, with what depended on it, and nothing else: the sums of the
shards that stand are kept, and one that comes back as it was changes no later stage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from semievol.errors import RunFolderError
from semievol.run_folder.damage import damaged
from semievol.run_folder.files import read_json, write_sealed
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.journal import Journal
from semievol.run_folder.parquet import open_parquet
from semievol.run_folder.place import at_address, on_disk
from semievol.run_folder.stage import Stage
from semievol.run_folder.sums import beside, check, files_of, is_of_key, recorded

NOT_MENDED = ("key.json", "job.json", "adapter")
"""Names of what is not made again by itself: a training, and what cannot be known any more."""


@dataclass
class Inspection:
    """What became of looking at every file of a run."""

    files: int = 0
    unknown: int = 0
    """Files that were readable, of which no sum was kept: those of older versions, and at an address."""
    damages: dict[Path, str] = field(default_factory=dict)
    """What is damaged, each with a line that says why and what to do."""
    lines: list[str] = field(default_factory=list)
    """What else there is to say."""


def verify(folder: RunFolder) -> Inspection:
    """Looks at every file of a run on a disk that its results depend on.

    Raises:
        RunFolderError: there is no run, or it is at an address, whose store looks after its own sums.
    """
    if at_address(folder.path):
        raise RunFolderError(f"{folder.path}: only a run on a disk is verified; an object store keeps its own sums")
    path = on_disk(folder.path)
    if not folder.is_run() and not (path / "run.json").exists():
        raise RunFolderError(f"{folder.path}: no run here")
    inspection = Inspection()
    _look(inspection, on_disk(folder.facts_path))
    if folder.task_path.exists():
        _look(inspection, on_disk(folder.task_path))
    for stage in _stages(path):
        if stage.is_done:
            _look_at_done(inspection, stage)
        unknown = {on_disk(stage.path) / name for name in ("done.json", "key.json")} & set(inspection.damages)
        if not unknown:  # else nobody knows what its files should be
            for file in _files(stage):
                _look(inspection, file)
    return inspection


def mend(folder: RunFolder, inspection: Inspection) -> Iterator[str]:
    """Takes away what is damaged and can be made again; says so in lines.

    Raises:
        RunFolderError: a process works on the run.
    """
    with folder.lock():
        for path in list(inspection.damages):
            if any(part in NOT_MENDED for part in path.relative_to(on_disk(folder.path)).parts):
                continue
            if stage := _stage_of(path, on_disk(folder.path)):
                _take_back(stage)
            was_there = path.exists()
            path.unlink(missing_ok=True)
            del inspection.damages[path]
            yield f"{path}: {'taken away' if was_there else 'to be made again'}"


def _look(inspection: Inspection, path: Path) -> None:
    try:
        if not path.exists():
            raise damaged(path, "it is gone")
        inspection.files += 1
        inspection.unknown += path.suffix == ".parquet" and recorded(path) is None
        if path.suffix == ".parquet":
            with open_parquet(path) as file:
                for batch in file.iter_batches(batch_size=1024, use_threads=False):
                    batch.validate(full=True)
        elif path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".jsonl":
            inspection.lines += _damaged_lines(path)
        else:
            check(path)
    except RunFolderError as error:
        inspection.damages[path] = str(error)


def _look_at_done(inspection: Inspection, stage: Stage) -> None:
    path = on_disk(stage.path) / "done.json"
    inspection.files += 1
    try:
        files_of(path, of_key=False)
        if not is_of_key(path):
            key = path.with_name("key.json")
            inspection.damages[key] = f"{key}: it and done.json are of two runs; the same command knows which is right"
    except RunFolderError as error:
        inspection.damages[path] = str(error)


def _damaged_lines(path: Path) -> list[str]:
    count = Journal(path).damaged_lines()
    return [f"{path}: {count} damaged lines; the same command asks again what they held"] if count else []


def _stages(path: Path) -> list[Stage]:
    """Every stage of a run, those below another one and those that were set aside too."""
    return [Stage(key.parent) for key in sorted(path.rglob("key.json"))] + [
        Stage(done.parent) for done in sorted(path.rglob("done.json")) if not (done.parent / "key.json").exists()
    ]


def _files(stage: Stage) -> list[Path]:
    """The files of a stage that should be there or are there."""
    folder = on_disk(stage.path)
    files = {folder / "key.json", *stage.result_files()}
    if stage.is_done:
        files |= {folder / name for name in stage.sums()}
    files |= {path.with_name(path.name.replace(".sum.json", ".parquet")) for path in folder.glob("*.sum.json")}
    return sorted(files)


def _stage_of(path: Path, run: Path) -> Stage | None:
    """The stage to which a file belongs."""
    inside = [folder for folder in path.parents if folder.is_relative_to(run)]
    return next((Stage(folder) for folder in inside if (folder / "done.json").exists()), None)


def _take_back(stage: Stage) -> None:
    """Has a stage finished again, from what lies there; it is known what each shard was."""
    folder = on_disk(stage.path)
    try:
        sums = stage.sums()
    except RunFolderError:
        sums = {}
    for name, one in sums.items():
        if Path(name).name.startswith("part-"):
            write_sealed(beside(folder / name), {"sum": one})
    (folder / "done.json").unlink()
