"""The tables of `docs/speed.md`, made of the kept results."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .composition import demo_counts, demo_seconds
from .figures import Result, prefill_shares, ratios, training_rate, training_shares, working
from .workloads import KINDS, ROOT

RESULTS = ROOT / "benchmarks" / "results" / "speed"
PAGE = ROOT / "docs" / "speed.md"
DEMO_KEPT = RESULTS / "whole-demo.json"
"""What `benchmarks.speed.demo` keeps."""
MARKS = ("<!-- speed table: begin -->", "<!-- speed table: end -->")
DEMO_WAYS = {"ours": ("ours", "ours"), "naive": ("naive", "trl"), "tuned libraries": ("tuned", "trl-tuned")}
"""A way to answer and a way to train."""

Cell = Callable[[Result], str]


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """The median, and the least and the largest in parentheses."""
    shown = [form.format(value) for value in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def kept(folder: Path = RESULTS) -> dict[str, Result]:
    """The kept results by workload, in the order of `KINDS`."""
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in KINDS
        if (path := folder / f"{name}.json").exists()
    }


def slower(way: str, loading: bool) -> Cell:
    """How many times longer than ours a way takes to answer."""

    def cell(result: Result) -> str:
        if way not in result["answering"]:
            return str(result["missing"][way])
        if loading:
            seconds = {w: [one["seconds"] for one in result["answering"][w]] for w in (way, "ours")}
            return spread(ratios(seconds[way], seconds["ours"]))
        return spread(ratios(working(result, way), working(result, "ours")))

    return cell


def slower_stage(way: str, stage: str) -> Cell:
    """How many times longer than ours a way takes for one kind of requests."""

    def cell(result: Result) -> str:
        if not result["counts"]["requests"][stage]:
            return "none asked"
        seconds = {w: [one["stages"][stage] for one in result["answering"][w]] for w in (way, "ours")}
        return spread(ratios(seconds[way], seconds["ours"]))

    return cell


def slower_training(way: str, key: str) -> Cell:
    """How many times longer than ours a way takes to train."""
    return lambda result: spread(
        ratios(
            [one[key] for one in result["training"]["ways"][way]],
            [one[key] for one in result["training"]["ways"]["ours"]],
        )
    )


def memory(way: str, training: bool = False) -> Cell:
    """Peak memory of a way's process, in GB."""

    def cell(result: Result) -> str:
        each = result["training"]["ways"] if training else result["answering"]
        peaks = [one["peak_memory_mb"] for one in each.get(way, ()) if one["peak_memory_mb"] is not None]
        return f"{max(peaks) / 1024:.1f}" if peaks else "not known"

    return cell


def equal(way: str) -> Cell:
    """How many greedy answers are ours."""

    def cell(result: Result) -> str:
        share = result["checks"]["greedy"].get(way)
        return str(result["missing"][way]) if share is None else f"{share['equal']} of {share['of']}"

    return cell


def share_of_samples(way: str, key: str) -> Cell:
    """Accuracy or agreement of a way's samples in %, with its interval."""

    def cell(result: Result) -> str:
        found = result["checks"]["samples"].get(way)
        if found is None:
            return str(result["missing"][way])
        figures = found[key]
        return f"{100 * figures['accuracy']:.1f} ({100 * figures['low']:.1f} to {100 * figures['high']:.1f})"

    return cell


def gap(figures: Mapping[str, float] | None) -> str:
    """A largest and a mean difference."""
    return "none" if figures is None else f"{figures['largest']:.3f}, {figures['mean']:.3f}"


SECTIONS: tuple[tuple[str, dict[str, Cell]], ...] = (
    (
        "Answering: how many times longer than ours",
        {
            "naive": slower("naive", loading=False),
            "naive, each one's loading counted": slower("naive", loading=True),
            "tuned `transformers`": slower("tuned", loading=False),
            "vLLM": slower("vllm", loading=False),
            "naive: collaborate": slower_stage("naive", "collaborate"),
            "naive: justify": slower_stage("naive", "justify"),
            "naive: score": slower_stage("naive", "score"),
            "tuned: collaborate": slower_stage("tuned", "collaborate"),
            "tuned: justify": slower_stage("tuned", "justify"),
            "tuned: score": slower_stage("tuned", "score"),
        },
    ),
    (
        "Training: how many times longer than ours",
        {
            "TRL's defaults, from the second step on": slower_training("trl", "step_seconds"),
            "TRL's defaults, with loading and saving": slower_training("trl", "seconds"),
            "TRL in our type, from the second step on": slower_training("trl-tuned", "step_seconds"),
            "TRL in our type, with loading and saving": slower_training("trl-tuned", "seconds"),
        },
    ),
    (
        "The limit",
        {
            "matrix products of a layer, GFLOP/s": lambda r: spread([x["layer"] / 1e9 for x in r["rates"]], "{:.0f}"),
            "the same with a training batch's rows": lambda r: spread(
                [x["layer"] / 1e9 for x in r["training"]["rates"]], "{:.0f}"
            ),
            "a product of 2048 x 2048 x 2048, GFLOP/s": lambda r: spread(
                [x["square"] / 1e9 for x in r["rates"]], "{:.0f}"
            ),
            "our prefill's share, of tokens computed, %": lambda r: spread(
                [100 * share for share in prefill_shares(r)], "{:.0f}"
            ),
            "our prefill's share, of tokens needed, %": lambda r: spread(
                [100 * share for share in prefill_shares(r, needed=True)], "{:.0f}"
            ),
            "our training's share, %": lambda r: spread([100 * share for share in training_shares(r)], "{:.0f}"),
        },
    ),
    (
        "Peak memory, GB",
        {
            "ours": memory("ours"),
            "naive": memory("naive"),
            "tuned `transformers`": memory("tuned"),
            "vLLM": memory("vllm"),
            "training: ours": memory("ours", training=True),
            "training: TRL's defaults": memory("trl", training=True),
            "training: TRL in our type": memory("trl-tuned", training=True),
        },
    ),
    (
        "The same results",
        {
            "greedy answers equal, tuned `transformers`": equal("tuned"),
            "greedy answers equal, vLLM": equal("vllm"),
            **{
                f"{key} of samples in % (95 % interval): {way}": share_of_samples(way, key)
                for key in ("accuracy", "agreement")
                for way in ("ours", "naive", "tuned", "vllm")
            },
            "H: largest and mean difference, naive": lambda r: gap(r["checks"]["mean_nll"]["naive"]),
            "H: largest and mean difference, tuned": lambda r: gap(r["checks"]["mean_nll"]["tuned"]),
            "loss: largest and mean difference, TRL's defaults": lambda r: gap(r["training"]["loss_difference"]["trl"]),
            "loss: largest and mean difference, TRL in our type": lambda r: gap(
                r["training"]["loss_difference"]["trl-tuned"]
            ),
        },
    ),
    (
        "What was measured",
        {
            "rows; training rows": lambda r: f"{r['settings']['rows']}; {r['settings']['train_rows']}",
            "requests: collaborate, justify, score": lambda r: ", ".join(
                str(n) for n in r["counts"]["requests"].values()
            ),
            "tokens requested; needed": lambda r: (
                f"{sum(r['counts']['tokens_requested'].values())}; {sum(r['counts']['tokens_needed'].values())}"
            ),
            "naive: longest answer in tokens": lambda r: str(r["settings"]["naive_tokens"]),
            "our weights' type": lambda r: str(r["dtype"]),
            "repetitions": lambda r: str(r["settings"]["repetitions"]),
            "ours: tokens requested a second": lambda r: spread(
                [sum(r["counts"]["tokens_requested"].values()) / s for s in working(r, "ours")], "{:.0f}"
            ),
            "ours: tokens trained a second": lambda r: spread(training_rate(r, "ours"), "{:.0f}"),
        },
    ),
)
"""Title, and what stands in each row."""


def tables(results: Mapping[str, Result], whole: Mapping[str, Any] | None = None) -> str:
    """All tables in Markdown.

    Args:
        whole: the figures of `benchmarks.speed.demo`, where it was run.
    """
    if not results:
        return "Nothing is kept yet; `make bench` measures it."
    made = [_table(title, rows, results) for title, rows in SECTIONS]
    if "newsgroups" in results:
        made.append(whole_demo(results["newsgroups"]))
    if whole is not None:
        made.append(real_demo(whole))
    return "\n\n".join([*made, _where(results)])


def with_tables(page: str, made: str) -> str:
    """The page with its tables replaced."""
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return f"{before}{MARKS[0]}\n{made}\n{MARKS[1]}{after}"


def from_kept() -> str:
    """The tables of everything that is kept."""
    whole = json.loads(DEMO_KEPT.read_text(encoding="utf-8")) if DEMO_KEPT.exists() else None
    return tables(kept(), whole)


def rewrite() -> None:
    """Writes the tables of `docs/speed.md` from what is kept."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), from_kept()), encoding="utf-8")


def whole_demo(result: Result) -> str:
    """A sentence on the whole demo: its counts times the rates of one workload."""
    demo = demo_counts()
    seconds = {name: demo_seconds(result, demo, *ways) for name, ways in DEMO_WAYS.items()}
    said = [
        f"{name} {spread([s / 60 for s in each], '{:.1f}')} minutes"
        + ("" if name == "ours" else f", {spread(ratios(each, seconds['ours']))} times ours")
        for name, each in seconds.items()
    ]
    return "The whole demo, put together from these rates: " + "; ".join(said) + "."


def real_demo(found: Mapping[str, Any]) -> str:
    """A sentence on the demo as it was really run."""
    ours, naive = found["ours"], found["naive"]
    accuracies = [f"{100 * each['accuracy']['evolved']:.1f}" for each in (ours, naive)]
    return (
        f"The whole demo, really run once each: ours {ours['minutes']:.1f} minutes, naive {naive['minutes']:.1f}, "
        f"{naive['minutes'] / ours['minutes']:.2f} times ours; accuracy of SemiEvol {accuracies[0]} % and "
        f"{accuracies[1]} %."
    )


def _table(title: str, rows: Mapping[str, Cell], results: Mapping[str, Result]) -> str:
    lines = [
        f"| {title} | " + " | ".join(KINDS[name].title for name in results) + " |",
        "|---|" + "---|" * len(results),
    ]
    lines += [
        f"| {row} | " + " | ".join(cell(result) for result in results.values()) + " |" for row, cell in rows.items()
    ]
    return "\n".join(lines)


def _where(results: Mapping[str, Result]) -> str:
    """The machine and the versions, of each workload where they differ."""
    said: dict[str, list[str]] = {}
    for name, result in results.items():
        facts = result["machine"]
        versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
        where = (
            f"{facts['cores']} cores ({facts['processor']}), {facts['threads']} threads, "
            f"{facts.get('memory_gb', '?')} GB; {versions}."
        )
        said.setdefault(where, []).append(KINDS[name].title)
    if len(said) == 1:
        return f"Measured on {next(iter(said))}"
    return "\n".join(f"- {', '.join(titles)}: measured on {where}" for where, titles in said.items())
