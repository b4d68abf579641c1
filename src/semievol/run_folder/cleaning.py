"""What a run folder can do without: it is made anew when it is needed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from semievol.errors import RunFolderError
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import at_address, on_disk


def clean(folder: RunFolder) -> Iterator[str]:
    """Removes stored rows, and what a training that has ended elsewhere or was given up has left; says so in lines.

    Stages, answers and weights stay, and so does a training that a stage which is not done goes on from.

    Raises:
        RunFolderError: there is no run, it is at an address, or a process works on it.
    """
    if not folder.is_run():
        raise RunFolderError(f"{folder.path}: no run here")
    if at_address(folder.path):
        raise RunFolderError(f"{folder.path}: only a run on a disk is cleaned")
    with folder.lock():
        path = on_disk(folder.path)
        leftovers = [stage / "adapter.partial" for stage in path.rglob("*") if (stage / "done.json").exists()]
        for victim in (path / "rows", *leftovers):
            if victim.is_dir():
                size = sum(file.stat().st_size for file in victim.rglob("*") if file.is_file())
                shutil.rmtree(victim)
                yield f"{Path(victim)}: {size / 1e6:,.1f} MB"
