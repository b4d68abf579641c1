"""The table of results, on the terminal and as Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from semievol.run_folder.files import read_json
from semievol.run_folder.folder import RunFolder
from semievol.terminal import visible
from semievol.training.folder import TrainingFolder

NAMES: Mapping[str, str] = {
    "base": "vanilla",
    "warm": "SFT (labeled only)",
    "evolved": "SemiEvol",
    "logistic_regression": "logistic regression on embeddings",
    "self_trained_logistic_regression": "logistic regression on embeddings, self-trained",
    "setfit": "SetFit",
}
"""A model of `metrics.json` -> what a person calls it."""
PSEUDO_NAMES: Mapping[str, str] = {"kept": "pseudo-labels, kept", "all": "pseudo-labels, all"}


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of the table: a share of right answers."""

    kind: Literal["model", "pseudo_labels"]
    key: str
    """The name in `metrics.json`."""
    name: str
    """The name for a person."""
    rows: int
    accuracy: float | None
    """From 0 to 1; `None` without rows."""
    low: float
    high: float
    """The 95 % interval."""
    macro_f1: float | None = None
    no_answer: int = 0
    """Rows in whose response no answer was found; they count as wrong."""
    cut: int = 0
    """Rows whose response was cut for its length, with an answer or without."""


def results_table(folder: RunFolder) -> list[TableRow]:
    """The models that answered the test rows, then the pseudo-labels if their truth is known; empty before."""
    stage = folder.stage("evaluate")
    if not stage.is_done:
        return []
    content = read_json(stage.metrics_path)
    rows = [_measured("model", key, NAMES.get(key, key), figures) for key, figures in content["models"].items()]
    pseudo_labels = content.get("pseudo_labels") or {}
    return rows + [
        _measured("pseudo_labels", key, name, pseudo_labels[key])
        for key, name in PSEUDO_NAMES.items()
        if key in pseudo_labels
    ]


@dataclass(frozen=True, slots=True)
class Evolved:
    """The last round's evolved weights."""

    where: str
    """A folder, or the name of a model at a service."""
    hosted: bool

    @property
    def what(self) -> str:
        """What a person calls it."""
        return "evolved model" if self.hosted else "evolved adapter"


def evolved_weights(folder: RunFolder) -> Evolved | None:
    """The evolved weights; `None` before there are any."""
    stages_done = [stage for _, stage in folder.stages() if stage.name == "evolve" and stage.is_done]
    if not stages_done:
        return None
    trained = TrainingFolder(stages_done[-1])
    return Evolved(trained.weights, trained.weights != str(trained.adapter_path))


def terminal(folder: RunFolder) -> RenderableType:
    """The table for a terminal, and where the model and the run lie."""
    rows = results_table(folder)
    parts: list[RenderableType] = []
    if rows:
        with_f1 = any(row.macro_f1 is not None for row in rows)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for heading in ("accuracy %", "95 % interval", *(["macro-F1 %"] if with_f1 else []), "rows"):
            table.add_column(heading, justify="right")
        for before, row in zip([None, *rows], rows, strict=False):
            if before is not None and before.kind != row.kind:
                table.add_section()
            cells = [row.name, percent(row.accuracy), between(row)]
            cells += [percent(row.macro_f1)] if with_f1 else []
            table.add_row(*cells, str(row.rows), style="bold" if row.key == "evolved" else "")
        parts.append(table)
        models = [(row.name, row.no_answer, row.cut) for row in rows if row.kind == "model"]
        parts += [Text(visible(line)) for line in unanswered(models)]
    # Text, not markup, and in one line: a path may hold brackets, and is there to be copied.
    parts += [
        Text(visible(f"{heading}: {where}"), no_wrap=True, overflow="ignore") for heading, where in _places(folder)
    ]
    return Group(*parts)


def unanswered(counts: Iterable[tuple[str, int, int]]) -> list[str]:
    """How many responses had no answer, and how many were cut; a line each.

    Args:
        counts: of each model its name, its responses without an answer, and those that were cut.
    """
    models = list(counts)
    lines = []
    if unread := [f"{no_answer} of {name}" for name, no_answer, _ in models if no_answer]:
        lines.append(f"Responses without a readable answer count as wrong: {', '.join(unread)}.")
    if cut_models := [f"{cut_models} of {name}" for name, _, cut_models in models if cut_models]:
        lines.append(f"Responses that were cut for their length: {', '.join(cut_models)}; raise evaluate.max_tokens.")
    return lines


def markdown(folder: RunFolder) -> str:
    """The table as Markdown; empty before evaluation."""
    rows = results_table(folder)
    if not rows:
        return ""
    with_f1 = any(row.macro_f1 is not None for row in rows)
    lines = ["| | accuracy % | 95 % interval |" + (" macro-F1 % |" if with_f1 else "") + " rows |"]
    lines.append("|---|---:|---:|" + ("---:|" if with_f1 else "") + "---:|")
    for row in rows:
        f1 = f" {percent(row.macro_f1)} |" if with_f1 else ""
        lines.append(f"| {row.name} | {percent(row.accuracy)} | {between(row)} |{f1} {row.rows} |")
    return "\n".join(lines) + "\n"


def percent(share: float | None) -> str:
    """A share as percent with one decimal, without the sign; empty for `None`."""
    return "" if share is None else f"{100 * share:.1f}"


def between(row: TableRow) -> str:
    """The 95 % interval in percent; empty without rows."""
    return f"{percent(row.low)} to {percent(row.high)}" if row.rows else ""


def _measured(kind: Literal["model", "pseudo_labels"], key: str, name: str, figures: Mapping[str, Any]) -> TableRow:
    return TableRow(
        kind=kind,
        key=key,
        name=name,
        rows=figures["rows"],
        accuracy=figures["accuracy"],
        low=figures["low"],
        high=figures["high"],
        macro_f1=figures.get("macro_f1"),
        no_answer=figures.get("no_answer", 0),
        cut=figures.get("cut", 0),
    )


def _places(folder: RunFolder) -> list[tuple[str, str]]:
    evolved = evolved_weights(folder)
    places = [(evolved.what, evolved.where)] if evolved else []
    places += [("report", str(folder.report_path))] if folder.report_path.exists() else []
    return [*places, ("run folder", str(folder.path))]
