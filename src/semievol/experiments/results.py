"""What an experiment leaves: numbers, a table and a figure, each with what it was made from."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from semievol.errors import ConfigError, ExperimentError
from semievol.experiments import measurements
from semievol.experiments.catalogue import Experiment
from semievol.experiments.grid import Result
from semievol.experiments.measurements import Measurements
from semievol.experiments.paper import SOURCE
from semievol.experiments.statistics import Comparison, Summary
from semievol.experiments.tables import ResultTable
from semievol.experiments.targets import Target
from semievol.report.table import unanswered
from semievol.run_folder.files import write_text
from semievol.terminal import TextConsole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Findings(Measurements):
    """What an experiment found."""

    experiment: Experiment
    summaries: Sequence[Summary]
    comparisons: Sequence[Comparison]
    tables: Sequence[ResultTable]
    headline: str
    """What it comes to in a sentence; empty if that is left to the tables."""

    @property
    def failures(self) -> list[Result]:
        """The cells that could not be measured."""
        return [result for result in self.results if result.error is not None]


def write(findings: Findings, folder: Path, figure: "Figure") -> None:
    """Writes results.json, outcomes.parquet, results.csv, table.md, figure.png and figure.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"experiment": findings.experiment.name, "paper": findings.experiment.paper, "headline": findings.headline}
    summary = {
        "summaries": [dataclasses.asdict(summary) for summary in findings.summaries],
        "comparisons": [dataclasses.asdict(comparison) for comparison in findings.comparisons],
    }
    measurements.write(findings, about, summary, folder)
    write_text(folder / "results.csv", _csv(findings.results))
    write_text(folder / "table.md", markdown(findings))
    for kind in ("png", "svg"):
        figure.savefig(folder / f"figure.{kind}", metadata={"Date": None} if kind == "svg" else None)


def markdown(findings: Findings) -> str:
    """The page of an experiment: its tables, its figure, and what they rest on."""
    experiment = findings.experiment
    where = f" ({experiment.paper} of the paper)" if experiment.paper else ""
    parts = [f"# {experiment.title}{where}\n", *([f"{findings.headline}\n"] if findings.headline else [])]
    parts += [table.markdown() for table in findings.tables]
    parts += ["![The same as a figure](figure.svg)\n", "## What this rests on\n", *_provenance(findings)]
    return "\n".join(parts)


def page(out: Path) -> str:
    """The pages of all experiments below a folder, one after another, with figures that are found from there.

    Raises:
        ConfigError: there are none.
    """
    paths = sorted(out.glob("*/table.md")) + sorted(out.glob("compare/*/table.md"))
    if not paths:
        raise ConfigError(f"{out}: no results here yet; semievol experiment and semievol compare make them")
    pages = [(path.parent, path.read_text(encoding="utf-8")) for path in paths]
    return "\n".join(text.replace("](figure.svg)", f"]({folder.as_posix()}/figure.svg)") for folder, text in pages)


def show(findings: Findings, folder: Path) -> None:
    """Prints the tables, the sentence, what the figures have to be read with, and where the results lie.

    Raises:
        ExperimentError: cells could not be measured.
    """
    console = TextConsole()
    for table in findings.tables:
        console.print(table.rich())
        console.print()
    if findings.headline:
        console.print(findings.headline)
    for line in _not_answered(findings):
        console.print(line)
    console.print(f"results: {folder}", soft_wrap=True)
    if findings.failures:
        names = ", ".join(f"{failure.method} ({failure.error})" for failure in findings.failures)
        raise ExperimentError(f"not measured: {names}; the same command tries them again")


def _provenance(findings: Findings) -> Iterator[str]:
    for target in findings.targets:
        of_target = [r for r in findings.results if (r.task, r.base) == (target.task, target.base)]
        seeds = sorted({result.seed for result in of_target})
        rows = sorted({s.rows for s in findings.summaries if (s.task, s.base) == (target.task, target.base)})
        yield (
            f"- {target.task}, {target.config.model.name}: config `{target.source}`, seed{'s' * (len(seeds) > 1)} "
            f"{', '.join(map(str, seeds))}, test rows {', '.join(map(str, rows))}. {_recipes(findings, target)}"
        )
    origins = {_made_by(result) for result in findings.results if result.error is None}
    yield from (f"- {line}" for line in sorted(origins))
    if any(summary.paper is not None for summary in findings.summaries):
        yield f"- [paper]: {SOURCE}, its test split and recipe."
    yield (
        "- One seed: 95 % Wilson intervals. Several: mean and sample standard deviation. Differences: paired bootstrap "
        "over test rows and seeds; p by McNemar's exact test, or its extension to several seeds, and after Holm."
    )
    yield from (f"- {line}" for line in _not_answered(findings))
    for result in findings.failures:
        yield f"- Not measured: {result.method} on {result.task}, seed {result.seed}: {result.error}"
    yield "- results.csv names config digest, run folder, seed, versions and machine of every number.\n"


def _not_answered(findings: Findings) -> Iterator[str]:
    """Why a figure may be lower than what the model knows."""
    yield from unanswered((f"{s.method} ({s.task})", s.no_answer, s.cut) for s in findings.summaries)
    lost_requests = [
        f"{r.failed_requests} of {r.method} ({r.task}, seed {r.seed})" for r in findings.results if r.failed_requests
    ]
    if lost_requests:
        yield f"Requests that failed: {', '.join(lost_requests)}. The same command asks again, if that may help."


def _recipes(findings: Findings, target: Target) -> str:
    lines, how = [], ""
    for (task, base, seed), recipes in findings.searched.items():
        if (task, base) == (target.task, target.base) and recipes.tried:
            how = f"on {recipes.tried[0]['rows']} held-out labeled rows"
            how = f"{how}, by {recipes.folds}-fold cross-validation" if recipes.folds > 1 else how
            sft, evolve = _recipe(recipes.sft, target, "warmup"), _recipe(recipes.evolve, target, "evolve")
            lines.append(f"seed {seed}: SFT {sft}, SemiEvol {evolve}")
    if not lines:
        return "Recipes as in the config."
    return f"Recipes, the best of a search {how}: {'; '.join(lines)}."


def _recipe(recipe: Mapping[str, Any], target: Target, stage: Literal["warmup", "evolve"]) -> str:
    """What a stage was trained with: the search's recipe, and the config's where that leaves something open."""
    training = target.config.recipe(stage).model_copy(update=dict(recipe))
    return f"{training.num_train_epochs} epochs at {training.learning_rate:g}"


def _made_by(result: Result) -> str:
    machine, versions = result.facts["machine"], result.facts["versions"]
    commit = f", commit {result.facts['commit']}" if result.facts.get("commit") else ""
    gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
    return (
        f"SemiEvol {versions.get('semievol', '')}{commit}; {machine['processor'] or 'unknown processor'}, "
        f"{machine['cores']} cores{gpu}, {machine['system']}."
    )


def _csv(results: Sequence[Result]) -> str:
    """A line for each cell."""
    lines = [_line(result) for result in results]
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _line(result: Result) -> dict[str, Any]:
    figures, facts = result.metrics or {}, result.facts
    recipes = {stage: result.recipes.get(stage, {}) for stage in ("warmup", "evolve")}
    return {
        "task": result.task,
        "base": result.base,
        "method": result.method,
        "seed": result.seed,
        **{name: figures.get(name) for name in ("rows", "right", "accuracy", "low", "high", "macro_f1", "no_answer")},
        **_pseudo_labels(result.pseudo_labels),
        **{f"{stage}_{name}": value for stage, fields in recipes.items() for name, value in fields.items()},
        "config_digest": result.config_digest,
        "run": result.run,
        "started": facts.get("started"),
        "version": (facts.get("versions") or {}).get("semievol"),
        "commit": facts.get("commit"),
        "machine": (facts.get("machine") or {}).get("processor"),
        "failed_requests": result.failed_requests,
        "error": result.error,
    }


def _pseudo_labels(figures: Mapping[str, Any] | None) -> dict[str, int]:
    if figures is None:
        return {}
    names = ("all", "kept")
    return {f"pseudo_labels_{name}_{count}": figures[name][count] for name in names for count in ("rows", "right")}
