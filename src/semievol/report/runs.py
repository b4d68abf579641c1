"""The runs below a folder: how far each is, and what came of it."""

import time
from pathlib import Path

from rich.table import Table

from semievol.errors import RunFolderError, SemiEvolError
from semievol.report.table import percent, results_table
from semievol.run_folder import STAGES
from semievol.run_folder.folder import RunFolder
from semievol.terminal import TextConsole

DEPTH = 4
"""Folders below the one that is named in which runs are looked for."""


def print_runs(folder: Path) -> None:
    """Prints a line for each run, the one that was worked on last at the end.

    Raises:
        RunFolderError: there is no such folder, or no run below it.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such folder")
    marks = {mark for depth in range(DEPTH + 1) for mark in folder.glob("*/" * depth + "run.json")}
    runs = sorted((mark.stat().st_mtime, mark.parent) for mark in marks if RunFolder(mark.parent).is_run())
    if not runs:
        raise RunFolderError(f"{folder}: no runs here")
    table = Table("run", "last done", "round", "SFT %", "evolved %", "worked on")
    for seconds, path in runs:
        table.add_row(str(path), *_state(RunFolder(path)), time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)))
    TextConsole().print(table)


def _state(folder: RunFolder) -> tuple[str, str, str, str]:
    """The last stage that is done, its round, and the shares of right answers; a run that is damaged says so."""
    try:
        done = [(round_, STAGES.index(stage.name), stage.name) for round_, stage in folder.stages() if stage.is_done]
        accuracy = {row.key: percent(row.accuracy) for row in results_table(folder)}
    except (SemiEvolError, ValueError, KeyError, OSError) as error:
        return f"cannot be read: {error}", "", "", ""
    if not done:
        return "nothing", "", "", ""
    evaluated = [name for _, _, name in done if name == "evaluate"]
    round_ = max(round_ for round_, _, _ in done)
    last = evaluated[0] if evaluated else max(done)[2]
    return last, str(round_), accuracy.get("warm", ""), accuracy.get("evolved", "")
