"""docs/results.md, made from the kept results alone.

`python -m benchmarks.paper --page` writes it; a test fails when it says anything else than the kept results do.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.paper.steps import Step, steps
from semievol.experiments.compare import verdict
from semievol.experiments.measurements import OUTCOMES
from semievol.experiments.statistics import Comparison, Summary
from semievol.experiments.tables import signed
from semievol.report.table import percent

INTRODUCTION = """# Results

The paper's experiments with a model of 135M parameters (SmolLM2-135M-Instruct) on a CPU, at sizes that take hours. They
show what the method does for a small model with few labels; they say nothing about the paper's 8B model, whose tables
[docs/experiments.md](experiments.md) tells how to make. There, too, is what the intervals and tests are.

`python -m benchmarks.paper` runs all of it, and `python -m benchmarks.paper --page` writes this page from what is kept
in [benchmarks/results/paper](../benchmarks/results/paper). No number here is typed by hand. All rows of a table have
the same config and the same data; the recipes of SFT and SemiEvol come out of the same search if one is named.

These figures were made by an engine that merged adapters into bfloat16 weights to answer, which loses a part of a small
update. The engine answers with the adapter beside the weights now ([method](method.md#the-adapter-while-it-answers)).
It also read labels out of answers that were cut for their length, those of vanilla models mostly; such an answer is
none now, and test rows are answered with at least 64 tokens.
"""
FINDINGS = """## What worked and what did not

Against what the first column names, on the same test rows, in points. Better and worse are those whose 95 % interval
leaves out zero and whose p is below 0.05 after Holm's correction for all comparisons of the experiment. "No row
differs": both models have the same test rows right, for instance because the same pseudo-labels were kept.

| against | better | worse | open |
|---|---|---|---|"""
EXAMPLES = """## What the retrieved examples do

The base model answers test rows without and with the nearest labeled examples in its prompt (Table 1). The warm model
answers unlabeled rows with them, in a crew whose pseudo-labels are then settled, and in the ablation without them.

| task | base model, % right | with BM25's | with dense | pseudo-labels, % right | without examples |
|---|---:|---:|---:|---:|---:|"""
SIZES = """## Sizes

The epochs are those of the config. A seed draws the rows (test rows too), the collaborators, the samples and the
training.

| task | labeled | unlabeled | test | examples k | epochs: warm-up | evolution | learning rate | config |
|---|---:|---:|---:|---:|---:|---:|---:|---|"""
CHANCE = """## Which tasks are at chance

A model is above chance if the 95 % interval of its accuracy (Wilson, the rows of all seeds together) lies above
what the most frequent answer of the test rows would reach. A task is called at chance where neither SFT nor SemiEvol
is above it.

| task | the most frequent answer, % | above chance | not above chance |
|---|---:|---|---|"""
MISSING = """- The paper's models (Llama-3.1-8B, GPT-4o-mini) and its self-evolution and domain-adapted checkpoints
  (`--model`): too large for this machine.
- The paper's tasks MMLU, USMLE and ConvFinQA.
"""


@dataclass(frozen=True)
class Kept:
    """The kept results of an experiment."""

    name: str
    """Its folder."""
    found: Mapping[str, Any]
    """results.json."""
    table: str
    """table.md."""
    can_grow: bool
    """Whether the outcome of each test row is kept too; without it, nothing can be added."""

    def measured(self) -> set[tuple[str, int]]:
        """The tasks and seeds in which nothing is missing."""
        cells = {(each["task"], each["seed"]) for each in self.found["results"]}
        return cells - {(each["task"], each["seed"]) for each in self.found["results"] if each["error"] is not None}


def read_kept(folder: Path) -> dict[str, Kept]:
    """Everything that is kept, by the names of the folders, in the order of the steps."""
    found = {}
    for name in dict.fromkeys(step.name for step in steps()):
        if (folder / name / "results.json").exists():
            results = json.loads((folder / name / "results.json").read_text(encoding="utf-8"))
            table = (folder / name / "table.md").read_text(encoding="utf-8")
            found[name] = Kept(name, results, table, (folder / name / OUTCOMES).exists())
    return found


def page(folder: Path) -> str:
    """The page about what is kept in a folder."""
    kept = read_kept(folder)
    made = (
        [*_comparison(kept), *_findings(kept), *_examples(kept), *_sizes(kept), *_guessing(kept)]
        if kept
        else ["None of it has ended yet.\n"]
    )
    parts = [INTRODUCTION, *made, *_missing(kept), *(_experiment(each) for each in kept.values())]
    return "\n".join(parts).rstrip() + "\n"


def _comparison(kept: Mapping[str, Kept]) -> Iterator[str]:
    """A sentence for each task of the tables of methods."""
    yield "## SemiEvol against SFT\n"
    for each in kept.values():
        if each.found["experiment"] == "table1":
            summaries = [Summary(**one) for one in each.found["summaries"]]
            comparisons = [Comparison(**one) for one in each.found["comparisons"]]
            for task in dict.fromkeys(summary.task for summary in summaries):
                found = [one for one in summaries if one.task == task]
                if said := verdict(found, [one for one in comparisons if one.task == task]):
                    yield f"- **{task}**: {said}{_other_epochs(found)}"
    yield ""


def _other_epochs(found: Sequence[Summary]) -> str:
    """What SFT reaches where its epochs are given, as a sentence; empty if that was not measured."""
    shown = [f"{percent(one.accuracy)} % with {one.method[5:]}" for one in found if one.method.startswith("SFT, ")]
    return f" SFT without the search: {', '.join(shown)}." if shown else ""


def _findings(kept: Mapping[str, Kept]) -> Iterator[str]:
    """For each experiment and task, what is surely better, surely worse, and what is open."""
    yield FINDINGS
    for each in kept.values():
        compared = [Comparison(**one) for one in each.found["comparisons"]]
        for task in dict.fromkeys(one.task for one in compared):
            of_task = [one for one in compared if one.task == task]
            cells = (", ".join(_named(one) for one in of_task if one.settled_corrected == way) for way in (1, -1, 0))
            against = f"{each.found['experiment']}, {task}: {of_task[0].reference}"
            yield f"| {' | '.join([against, *(cell or 'none' for cell in cells)])} |"
    yield ""


def _named(one: Comparison) -> str:
    alike = "" if one.ahead or one.behind else ", no row differs"
    return f"{one.method} ({signed(one.difference)}{alike})"


def _examples(kept: Mapping[str, Kept]) -> Iterator[str]:
    """For each task of the tables of methods, what answers are worth without and with examples."""
    yield EXAMPLES
    crews = _pseudo_labels(kept["ablation"]) if "ablation" in kept else {}
    for each in kept.values():
        if each.found["experiment"] == "table1":
            shares = {(one["task"], one["method"]): one["accuracy"] for one in each.found["summaries"]}
            for task in dict.fromkeys(task for task, _ in shares):
                base = (shares.get((task, method)) for method in ("vanilla", "RAG (BM25)", "RAG (dense)"))
                warm = (crews.get((task, method)) for method in ("SemiEvol", "without in-context propagation"))
                yield f"| {' | '.join([task, *map(percent, (*base, *warm))])} |"
    yield ""


def _pseudo_labels(kept: Kept) -> dict[tuple[str, str], float]:
    """(task, method) -> the share of right ones among all pseudo-labels, of all seeds."""
    counts: dict[tuple[str, str], list[dict[str, int]]] = {}
    for each in kept.found["results"]:
        if each["pseudo_labels"] is not None:
            counts.setdefault((each["task"], each["method"]), []).append(each["pseudo_labels"]["all"])
    return {
        place: sum(each["right"] for each in found) / sum(each["rows"] for each in found)
        for place, found in counts.items()
    }


def _sizes(kept: Mapping[str, Kept]) -> Iterator[str]:
    yield SIZES
    targets = {target["task"]: target for each in kept.values() for target in each.found["targets"]}
    for task, target in targets.items():
        config = target["config"]
        data, training = config["data"], config["training"]
        epochs = [{**training, **config[stage]["training"]}["num_train_epochs"] for stage in ("warmup", "evolve")]
        cells = [
            *(data[f"{split}_rows"] for split in ("labeled", "unlabeled", "test")),
            config["retrieval"]["k"],
            *epochs,
        ]
        source = f"[{target['source']}](../{target['source']})"
        yield f"| {' | '.join(map(str, [task, *cells, training['learning_rate'], source]))} |"
    yield ""


def _guessing(kept: Mapping[str, Kept]) -> Iterator[str]:
    """Which tasks are at chance: those where no trained model is surely better than one answer for all rows."""
    yield CHANCE
    for each in kept.values():
        if each.found["experiment"] not in ("table1", "categories"):
            continue
        summaries = [Summary(**one) for one in each.found["summaries"]]
        for task in dict.fromkeys(one.task for one in summaries):
            of_task = [one for one in summaries if one.task == task]
            above = [one.method for one in of_task if one.is_above_chance]
            below = [one.method for one in of_task if not one.is_above_chance]
            name = task if {"SFT", "SemiEvol"} & set(above) else f"**{task}: at chance**"
            chance = percent(of_task[0].most_frequent)
            yield f"| {name} | {chance} | {', '.join(above) or 'none'} | {', '.join(below) or 'none'} |"
    yield ""


def _missing(kept: Mapping[str, Kept]) -> Iterator[str]:
    """What the driver would still run."""
    lines = [line for name, last in _last_steps().items() for line in _lacking(last, kept.get(name))]
    yield "## What was not run\n"
    yield from lines or ["Nothing of what `python -m benchmarks.paper` runs is missing."]
    yield MISSING


def _last_steps() -> dict[str, Step]:
    """The widest step of each name."""
    return {step.name: step for step in steps()}


def _lacking(step: Step, kept: Kept | None) -> Iterator[str]:
    measured = set() if kept is None else kept.measured()
    for task in step.tasks:
        if seeds := [str(seed) for seed in step.seeds if (task, seed) not in measured]:
            yield f"- {step.experiment} on {task}: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"


def _experiment(kept: Kept) -> str:
    """The kept page below a heading of this one."""
    text = re.sub(r"^(#+) ", r"#\1 ", kept.table, flags=re.MULTILINE)
    return text.replace("](figure.svg)", f"](../benchmarks/results/paper/{kept.name}/figure.svg)")
