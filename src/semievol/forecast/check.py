"""Looks at a run before it costs anything."""

import dataclasses
from dataclasses import dataclass

from rich.table import Table

from semievol.backends import NO_LIMIT
from semievol.config import Config
from semievol.config.places import Place
from semievol.data import Dataset, Report, examine, load
from semievol.forecast.chat_notes import template_notes
from semievol.forecast.lengths import cut_note, fitted
from semievol.forecast.memory import fits, load_of, memory_notes
from semievol.forecast.needs import require_engine, require_ready
from semievol.forecast.plan import Estimate, Plan, make_plan
from semievol.local.families import checked_model, is_local
from semievol.run_folder.folder import RunFolder
from semievol.terminal import TextConsole

SHOWN_ANSWERS = 12
"""Answers in the histogram; free text has as many as rows."""


@dataclass(frozen=True)
class Checked:
    """What was found."""

    dataset: Dataset
    report: Report
    plan: Plan


def check(config: Config, *, measure: bool = True, folder: Place | None = None) -> Checked:
    """The data, what is remarkable about it, and what the run will do.

    Args:
        config: the whole run.
        measure: load the model and time it for a few seconds.
        folder: where rows are stored; a temporary one if it is not given.

    Raises:
        SemiEvolError: the run cannot be; says why.
    """
    RunFolder(config.output).require_own()
    require_engine(config)
    if is_local(config):
        checked_model(config.model)
    dataset = load(config, folder)
    require_ready(config, dataset)
    plan = make_plan(config, dataset, measure=measure and (not is_local(config) or fits(config.model)))
    notes = [*plan.notes, *cut_note(config, dataset), *template_notes(config, dataset)]
    if is_local(config):
        notes += memory_notes(load_of(fitted(config, dataset), plan.prompt_tokens[1]))
    return Checked(dataset, examine(dataset), dataclasses.replace(plan, notes=tuple(notes)))


def show(console: TextConsole, checked: Checked) -> None:
    """Prints what was found."""
    report, plan = checked.report, checked.plan
    data = Table("rows", "count", "words: median", "95 %", "longest", title="Data", title_justify="left")
    for split, count in report.rows.items():
        words = report.words.get(split)
        numbers = [f"{words[i]:.0f}" for i in (2, 4, 5)] if words else ["", "", ""]
        data.add_row(split, str(count), *numbers)
    console.print(data)
    console.print(f"labeled answers: {_histogram(report)}")
    median, longest = plan.prompt_tokens
    limit = "" if plan.limit >= NO_LIMIT else f"; the model takes {plan.limit}"
    console.print(f"prompts: {median} tokens in the middle, {longest} at most{limit}")
    if plan.with_examples > plan.limit:
        console.print(
            f"note: with retrieved examples a prompt may reach {plan.with_examples} tokens; those that do not fit "
            "get no answer from that collaborator",
        )
    for warning in report.warnings:
        console.print(f"note: {warning}")
    show_plan(console, plan)


def show_plan(console: TextConsole, plan: Estimate, title: str = "the run") -> None:
    """Prints what will be done."""
    console.print(_plan_table(plan, title))
    for note in plan.notes:
        console.print(f"note: {note}")


def _plan_table(plan: Estimate, subject: str) -> Table:
    timed = plan.seconds is not None
    priced = any(step.dollars is not None for step in plan.steps)
    sums = [f"about {_minutes(plan.seconds)}"] if plan.seconds else []
    sums += [f"${plan.dollars:.2f}"] if plan.dollars is not None else []
    title = f"What {subject} will do, at most{': ' if sums else ''}{', '.join(sums)}"
    table = Table("stage", "rows or requests", "prompt tokens", "steps", title=title, title_justify="left")
    for heading, is_shown in (("answer tokens", priced), ("time", timed), ("$", priced)):
        if is_shown:
            table.add_column(heading)
    for step in plan.steps:
        cells = [step.stage, f"{step.requests:,}", f"{step.tokens:,}", f"{step.steps:,}" if step.steps else ""]
        cells += [f"{step.answers:,}"] if priced else []
        cells += [_minutes(step.seconds)] if timed else []
        cells += ["" if step.dollars is None else f"{step.dollars:.4f}"] if priced else []
        table.add_row(*cells)
    return table


def _histogram(report: Report) -> str:
    items = list(report.answers.items())
    histogram = ", ".join(f"{_short(answer)} {count}" for answer, count in items[:SHOWN_ANSWERS])
    return histogram + (f", ... {len(items) - SHOWN_ANSWERS} more" if len(items) > SHOWN_ANSWERS else "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 30 else line[:27] + "..."


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
