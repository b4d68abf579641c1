"""How far a run has come."""

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from semievol.config.places import Place
from semievol.costs.budget import costs, in_words
from semievol.errors import RunFolderError
from semievol.report.failures import failure_lines
from semievol.run_folder import STAGES
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.stage import Stage
from semievol.stages.redo import ASIDE
from semievol.terminal import TextConsole
from semievol.trust.estimates import spoken


def print_status(path: Place) -> None:
    """Prints a line for each stage of the run in `path`.

    Raises:
        RunFolderError: there is no run.
    """
    folder = RunFolder(path)
    if not folder.config_path.exists():
        raise RunFolderError(f"{path}: no run here yet; semievol run starts one")
    table = Table("round", "stage", "state", "figures", title=str(path), title_justify="left")
    stages = folder.stages()
    for round_, stage in stages:
        table.add_row(str(round_), stage.name, *_state(stage))
    for name in STAGES:
        if not any(stage.name == name for _, stage in stages):
            table.add_row("", name, "not begun", "")
    console = TextConsole()
    console.print(table)
    if paid := in_words(costs(folder)):
        console.print(paid)
    for line in [*failure_lines(folder), *_set_aside(stages), *_to_be_replaced(folder), *_waiting_batches(folder)]:
        console.print(line)


def _set_aside(stages: Sequence[tuple[int, Stage]]) -> list[str]:
    return [
        f"{stage.name}: {path} has the error of a shard that was set aside; the same command tries it again"
        for _, stage in stages
        for path in stage.shards.errors()
    ]


def _to_be_replaced(folder: RunFolder) -> list[str]:
    old = [stage.name for _, stage in RunFolder(folder.path / ASIDE).stages()]
    note = f"{ASIDE}/ has what --redo makes anew: {', '.join(old)}; they are removed once the new ones have begun"
    return [f"{note}, and come back if a run ends before that"] if old else []


def _waiting_batches(folder: RunFolder) -> list[str]:
    return [f"{path.name}: a batch is under way at the service" for path in sorted(folder.jobs_path.glob("*.json"))]


def _state(stage: Stage) -> tuple[str, str]:
    if not stage.is_done:
        parts, answers = stage.shards.progress()
        return "under way", f"{parts} shards done, {answers} answers beyond"
    summary = stage.summary()
    promise = summary.pop("promise", None)
    figures = [f"{name} {_figure(value)}" for name, value in summary.items() if _is_small(value)]
    return "done", ", ".join([*figures, *([spoken(promise)] if promise else [])])


def _is_small(value: Any) -> bool:
    return not isinstance(value, list | dict) or len(json.dumps(value)) <= 60


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("'", "")
