"""Whether SemiEvol helps on the user's own data, and what is best there: a sentence each."""

from collections.abc import Sequence

from semievol.experiments.methods import ORACLE, SEMIEVOL, SFT
from semievol.experiments.statistics import SURE, Comparison, Summary
from semievol.experiments.tables import p_text, signed
from semievol.report.table import percent


def verdict(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> str:
    """Whether SemiEvol is better than SFT here, and how sure that is; and which method is best of all."""
    by_name = {summary.method: summary for summary in summaries}
    pair = next((comparison for comparison in comparisons if comparison.method == SEMIEVOL.name), None)
    if pair is None:
        return _best(summaries)
    sentence = {
        1: "SemiEvol is better than SFT here",
        -1: "SemiEvol is worse than SFT here",
        0: "Whether SemiEvol is better than SFT here is open",
    }[pair.settled]
    evolved, sft = by_name[SEMIEVOL.name], by_name[SFT.name]
    return f"{sentence}: {_figures(evolved, sft, pair)}.{_draws(pair)}{_chance(evolved, sft)} {_best(summaries)}"


def _best(summaries: Sequence[Summary]) -> str:
    """Which method has the most test rows right, the ones that nobody could use aside; empty if it is alone."""
    usable = [summary for summary in summaries if summary.method != ORACLE.name]
    if len(usable) < 2:
        return ""
    highest = max(usable, key=lambda summary: summary.accuracy)
    best = [summary.method for summary in usable if summary.accuracy == highest.accuracy]
    return f"The best of the {len(usable)} methods is {' and '.join(best)}, at {percent(highest.accuracy)} %."


def _draws(comparison: Comparison) -> str:
    """Why a small p-value of several seeds does not settle it, if it does not; else empty."""
    if comparison.settled or comparison.p >= SURE or len(comparison.seeds) == 1:
        return ""
    return (
        " The p-value is about these trained models alone; the interval counts other draws of labels too, and among "
        "them are some that say otherwise."
    )


def _chance(evolved: Summary, sft: Summary) -> str:
    """A warning if a model may have gained by giving one answer more often."""
    if evolved.is_above_chance or sft.is_above_chance:
        return ""
    return (
        f" Neither is surely above the {percent(evolved.most_frequent)} % that one answer for all test rows would "
        "reach: such a difference says nothing of what was learned."
    )


def _figures(evolved: Summary, sft: Summary, comparison: Comparison) -> str:
    p = p_text(comparison.p)
    test = f"p {p}" if p.startswith("<") else f"p = {p}"
    seeds = len(comparison.seeds)
    if seeds == 1:
        basis = f"with one seed on {evolved.rows} test rows, so that another draw of labels may say otherwise"
    else:
        ahead = sum(gain > 0 for gain in comparison.by_seed)
        basis = f"with {seeds} seeds, ahead in {ahead} of them, on {evolved.rows} test rows each"
    return (
        f"{percent(evolved.accuracy)} % against {percent(sft.accuracy)} %, {signed(comparison.difference)} points "
        f"(95 % interval {signed(comparison.low)} to {signed(comparison.high)}, {test}), {basis}"
    )
