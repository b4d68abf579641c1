"""Results as tables: for the terminal, and as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from semievol.experiments.catalogue import Experiment
from semievol.experiments.grid import Result
from semievol.experiments.statistics import Comparison, Summary
from semievol.metrics import mean_and_deviation
from semievol.report.table import percent


@dataclass(frozen=True)
class ResultTable:
    """Cells of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table with its title."""
        lines = [list(self.columns), ["---", *("---:" for _ in self.columns[1:])], *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"{self.title}\n\n{body}\n"

    def rich(self) -> Table:
        """The table for a terminal."""
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        return table


def tables(
    experiment: Experiment,
    results: Sequence[Result],
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
    series: Mapping[str, str],
    uneven: frozenset[str],
) -> list[ResultTable]:
    """The tables of an experiment, in the shape of the paper's.

    Args:
        series: method -> the method it is an instance of (stability).
        uneven: the tasks whose classes are so uneven that macro-F1 belongs beside the accuracy.
    """
    with_figures = [result for result in results if result.metrics is not None]
    parts = {
        "methods": lambda: [_pivot(summaries, uneven)],
        "points": lambda: [_pivot(summaries, uneven)],
        "entropy": lambda: [_entropy(with_figures)],
        "stability": lambda: [_stability(summaries, series)],
        "categories": lambda: _categories(with_figures),
    }[experiment.shape]()
    if comparisons:
        parts.append(_comparisons(comparisons))
    if experiment.shape in ("methods", "points") and any(result.pseudo_labels for result in with_figures):
        parts.append(_pseudo_labels(with_figures))
    return parts


def _pivot(summaries: Sequence[Summary], uneven: frozenset[str]) -> ResultTable:
    """Methods down, tasks across."""
    targets = dict.fromkeys((s.base, s.task) for s in summaries)
    columns = [(base, task, f1) for base, task in targets for f1 in (False, True) if not f1 or task in uneven]
    several = len({base for base, _, _ in columns}) > 1
    by_place = {(s.base, s.task, s.method): s for s in summaries}

    def cell(base: str, task: str, f1: bool, method: str) -> str:
        summary = by_place.get((base, task, method))
        if summary is None:
            return ""
        return percent(summary.macro_f1) if f1 else accuracy_text(summary)

    def heading(base: str, task: str, f1: bool) -> str:
        return f"{task}{f', {base}' if several else ''}{', macro-F1' if f1 else ''}"

    names = dict.fromkeys(s.method for s in summaries)
    return ResultTable(
        "Accuracy in % on the test rows",
        ["", *(heading(*column) for column in columns)],
        [[name, *(cell(*column, name) for column in columns)] for name in names],
    )


def accuracy_text(summary: Summary) -> str:
    """`84.0 (80.1 to 87.2)`, or over seeds `84.0 ± 0.7`, and what the paper reports."""
    text = percent(summary.accuracy)
    if summary.deviation is not None:
        text += f" ± {percent(summary.deviation)}"
    elif summary.low is not None:
        text += f" ({percent(summary.low)} to {percent(summary.high)})"
    return text if summary.paper is None else f"{text} [paper {summary.paper:.1f}]"


def _comparisons(comparisons: Sequence[Comparison]) -> ResultTable:
    several = len({(comparison.base, comparison.task) for comparison in comparisons}) > 1
    rows = []
    for comparison in comparisons:
        name = f"{comparison.task}, {comparison.base}: {comparison.method}" if several else comparison.method
        interval = f"{signed(comparison.low)} to {signed(comparison.high)}"
        over = "" if comparison.deviation is None else f" ± {percent(comparison.deviation)}"
        rows.append(
            [
                name,
                f"{signed(comparison.difference)}{over}",
                interval,
                f"{comparison.ahead} : {comparison.behind}",
                p_text(comparison.p),
                p_text(comparison.p_corrected),
            ]
        )
    return ResultTable(
        f"Difference to {comparisons[0].reference} on the same test rows, in points",
        ["", "difference", "95 % interval", "only it right : only the other", "p", "p, Holm"],
        rows,
    )


def _pseudo_labels(results: Sequence[Result]) -> ResultTable:
    """How good the answers to the unlabeled rows were, the rows of all seeds together."""
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for result in results:
        if result.pseudo_labels is not None:
            grouped.setdefault((result.task, result.base, result.method), []).append(result.pseudo_labels)
    rows = []
    for (task, base, method), figures in grouped.items():
        right, row_count = (sum(figure["all"][count] for figure in figures) for count in ("right", "rows"))
        right_kept, kept = (sum(figure["kept"][count] for figure in figures) for count in ("right", "rows"))
        order = [figure["auroc_of_h"] for figure in figures if figure["auroc_of_h"] is not None]
        rows.append(
            [
                f"{task}, {base}: {method}",
                percent(right / row_count if row_count else None),
                f"{kept} of {row_count}",
                percent(right_kept / kept if kept else None),
                f"{fmean(order):.2f}" if order else "",
            ]
        )
    return ResultTable(
        "Pseudo-labels: answers to the unlabeled rows, of the last round",
        ["", "right, %", "kept", "kept and right, %", "AUROC of H"],
        rows,
    )


def _entropy(results: Sequence[Result]) -> ResultTable:
    rows = []
    for (base, task, method), values in mean_nlls(results).items():
        figures = [f"{quantile:.3f}" for quantile in (values.mean(), *np.quantile(values, (0.25, 0.5, 0.75, 0.95)))]
        rows.append([f"{task}, {base}: {method}", *figures, str(len(values))])
    return ResultTable(
        "H, the mean negative log-likelihood of the model's own answer, in nats per token",
        ["", "mean", "25 %", "median", "75 %", "95 %", "answers"],
        rows,
    )


def mean_nlls(results: Sequence[Result]) -> dict[tuple[str, str, str], npt.NDArray[np.float64]]:
    """(base, task, method) -> H of the answers to the test rows, of all seeds; those without H are left out."""
    by_method: dict[tuple[str, str, str], list[float]] = {}
    for result in results:
        key = (result.base, result.task, result.method)
        by_method.setdefault(key, []).extend(value for value in result.outcomes.mean_nll if value is not None)
    return {key: np.array(values) for key, values in by_method.items() if values}


def _stability(summaries: Sequence[Summary], series: Mapping[str, str]) -> ResultTable:
    rows = []
    for (base, task, method), shares in over_instructions(summaries, series).items():
        mean, deviation = mean_and_deviation(shares)
        listed = ", ".join(percent(share) for share in shares)
        rows.append([f"{task}, {base}: {method}", percent(mean), percent(deviation), listed])
    return ResultTable("Accuracy in % over the instructions", ["", "mean", "deviation", "each instruction"], rows)


def over_instructions(
    summaries: Sequence[Summary], series: Mapping[str, str]
) -> dict[tuple[str, str, str], list[float]]:
    """(base, task, method) -> its accuracy with each instruction, the mean over seeds."""
    shares: dict[tuple[str, str, str], list[float]] = {}
    for summary in summaries:
        shares.setdefault((summary.base, summary.task, series[summary.method]), []).append(summary.accuracy)
    return shares


def _categories(results: Sequence[Result]) -> list[ResultTable]:
    """A table for each target: categories down, methods across."""
    lines = []
    for (base, task), methods in by_category(results).items():
        names = sorted({name for shares in methods.values() for name in shares})
        rows = [[name, *(percent(shares.get(name)) for shares in methods.values())] for name in names]
        lines.append(ResultTable(f"Accuracy in % by category: {task}, {base}", ["", *methods], rows))
    return lines


def by_category(results: Sequence[Result]) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """(base, task) -> method -> category -> accuracy, the mean over seeds."""
    shares: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for result in results:
        of_method = shares.setdefault((result.base, result.task), {}).setdefault(result.method, {})
        for name, figures in ((result.metrics or {}).get("categories") or {}).items():
            of_method.setdefault(name, []).append(figures["accuracy"])
    return {
        target: {
            method: {name: fmean(values) for name, values in of_method.items()} for method, of_method in methods.items()
        }
        for target, methods in shares.items()
    }


def signed(share: float) -> str:
    """A difference of shares in points, `+1.2`."""
    return f"{100 * share:+.1f}"


def p_text(p: float) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
