"""What stands in a cell of the tables: a figure of one workload, with its spread."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from .figures import Result, ratios, working

Cell = Callable[[Result], str]


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """The median, and the least and the largest in parentheses."""
    shown = [form.format(value) for value in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


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
