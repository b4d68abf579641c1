"""`--redo`: stages are set aside and not removed, until what takes their place has begun.

    <run>/before-redo/  warmup/ ...  round-02/collaborate/ ...   the old stages, as they were
                        begun    the new ones have begun: the old ones are being removed
                        moving   the old ones are on their way here, or back

Whatever ends the run before that, a refusal, a stop or a kill, the old stages come back to their places, at once or
when the next run begins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from semievol.config import Config
from semievol.config.places import Place
from semievol.progress import Reporter
from semievol.run_folder.files import write_bytes, write_text
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import make_folder, move_folder, on_disk, remove_folder
from semievol.run_folder.stage import Stage
from semievol.run_folder.uploads import open_journal
from semievol.training.folder import TrainingFolder
from semievol.training.hosted.cancel import end_job
from semievol.training.hosted.record import find_record

ASIDE = "before-redo"


@contextmanager
def made_anew(folder: RunFolder, first: str | None, config: Config, reporter: Reporter) -> Iterator[None]:
    """A block that makes `first` and every later stage anew; none if it is `None`.

    Jobs at services that these stages wait for are ended: nobody will wait for them. If the old stages come back,
    so does their config.
    """
    before = folder.config_path.read_bytes() if folder.config_path.exists() else None
    if first is not None:
        stages = folder.stages_from(first)
        for _, stage in stages:
            if line := end_job(config, stage, "the stage is made anew"):
                reporter.say(line)
        _set_aside(folder, stages)
    try:
        yield
    except BaseException:
        if line := settle(folder):
            reporter.say(line)
            if before is not None:
                write_bytes(folder.config_path, before)
        raise
    _remove(folder)


def settle(folder: RunFolder) -> str | None:
    """Removes old stages if the new ones have begun, and brings them back if not; then a line that says so."""
    aside = RunFolder(folder.path / ASIDE)
    if not aside.path.exists():
        return None
    if remove_replaced(folder):
        return None
    old = aside.stages()
    if not _moving(folder).exists():
        for round_, stage in old:
            remove_folder(folder.stage(stage.name, round_).path)  # it holds no more than its key
    if old:
        write_text(_moving(folder), "")
        for round_, stage in old:
            move_folder(stage.path, folder.stage(stage.name, round_).path)
    remove_folder(aside.path)
    names = ", ".join(stage.name if round_ == 1 else f"{stage.name} of round {round_}" for round_, stage in old)
    return f"nothing was made anew; as they were before --redo: {names}" if old else None


def remove_replaced(folder: RunFolder) -> bool:
    """Whether the new stages have begun; then the old ones are removed."""
    aside = RunFolder(folder.path / ASIDE)
    if not aside.path.exists() or _moving(folder).exists():
        return False
    twins = (folder.stage(old.name, round_) for round_, old in aside.stages())
    if not _begun(folder).exists() and not any(map(_has_begun, twins)):
        return False
    _remove(folder)
    return True


def _set_aside(folder: RunFolder, stages: list[tuple[int, Stage]]) -> None:
    if not stages:
        return
    aside = RunFolder(folder.path / ASIDE)
    make_folder(aside.path)
    write_text(_moving(folder), "")
    for round_, stage in stages:
        move_folder(stage.path, aside.stage(stage.name, round_).path)
    _moving(folder).unlink()


def _remove(folder: RunFolder) -> None:
    """Removes the old stages; a removal that is cut short is known for one."""
    aside = RunFolder(folder.path / ASIDE)
    if not aside.path.exists():
        return
    write_text(_begun(folder), "")
    for _, stage in aside.stages():
        remove_folder(stage.path)
    remove_folder(aside.path)


def _has_begun(stage: Stage) -> bool:
    """Whether a stage holds anything that took work: an answer, a part of a training, a job at a service."""
    record = find_record(TrainingFolder(stage).training_path)
    if record is not None and not stage.is_done:
        return record.job is not None
    places = {stage.path, on_disk(stage.path) / "adapter.partial"}  # at an address, trainings lie on this machine
    for path in chain.from_iterable(place.rglob("*") for place in places):
        if path.name == "key.json" or path.name.startswith(".") or not path.is_file():
            continue
        is_journal = path.suffix == ".jsonl" and path.name.startswith("part-")
        if not is_journal or open_journal(path).lines:  # a journal is there before the first answer
            return True
    return False


def _moving(folder: RunFolder) -> Place:
    return folder.path / ASIDE / "moving"


def _begun(folder: RunFolder) -> Place:
    return folder.path / ASIDE / "begun"
