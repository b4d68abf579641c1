"""The figures, drawn with matplotlib."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semievol.errors import MissingExtraError
from semievol.experiments.results import Findings
from semievol.experiments.statistics import Summary
from semievol.experiments.tables import by_category, mean_nlls, over_instructions
from semievol.metrics import mean_and_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Told apart with any kind of sight (Paul Tol's bright scheme)."""
_BINS = 30


def require_matplotlib() -> None:
    """Raises MissingExtraError if no figures can be drawn.

    Raises:
        MissingExtraError: they cannot.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("experiments draw with matplotlib; pip install 'semievol[experiments]'") from error


def figure(findings: Findings) -> "Figure":
    """The figure of an experiment, in the shape of the paper's."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    draw = _DRAWN[findings.experiment.shape]
    with rc_context({"font.size": 9, "svg.hashsalt": "semievol", "svg.fonttype": "none"}):
        canvas = Figure(layout="constrained", dpi=150)
        draw(canvas, findings)
    return canvas


def _methods(canvas: "Figure", findings: Findings) -> None:
    """A panel for each target: methods down, accuracy across; the paper's as hollow marks."""
    targets = _targets(findings)
    names = list(dict.fromkeys(s.method for s in findings.summaries))
    canvas.set_size_inches(2.2 + 2.8 * len(targets), 0.9 + 0.32 * len(names))
    panels = _panels(canvas, 1, len(targets), sharey=True)
    for axes, (base, task) in zip(panels, targets, strict=True):
        for summary in _of(findings, base, task):
            place = len(names) - 1 - names.index(summary.method)
            _mark(axes, summary, place)
        axes.set_title(f"{task}\n{base}", fontsize=9)
        axes.set_xlabel("accuracy in %")
        axes.set_yticks(range(len(names)), [name[:40] for name in reversed(names)])
        axes.margins(y=0.5 / len(names))
        axes.grid(axis="x", alpha=0.3)
        if labels := dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)):
            axes.legend(list(labels.values()), list(labels), fontsize=7)


def _mark(axes: "Axes", summary: Summary, place: int) -> None:
    share = 100 * summary.accuracy
    axes.errorbar([share], [place], xerr=_spread(summary), fmt="o", color=COLORS[0], capsize=3)
    if summary.paper is not None:
        axes.plot([summary.paper], [place], "D", color=COLORS[1], fillstyle="none", label="the paper")


def _points(canvas: "Figure", findings: Findings) -> None:
    """A panel for each series: a line for each target, with SFT dashed if it is no point itself."""
    series = list(dict.fromkeys(v.series for v in findings.all_methods.values() if v.x is not None))
    canvas.set_size_inches(0.8 + 3.8 * len(series), 3.2)
    for axes, name in zip(_panels(canvas, 1, len(series), sharey=True), series, strict=True):
        for number, (base, task) in enumerate(_targets(findings)):
            color = COLORS[number % len(COLORS)]
            points = [(findings.all_methods[s.method], s) for s in _of(findings, base, task)]
            points_of_series = [(method.x, s) for method, s in points if method.series == name and method.x is not None]
            spreads = np.concatenate([_spread(s) for _, s in points_of_series], axis=1) if points_of_series else None
            places, shares = [x for x, _ in points_of_series], [100 * s.accuracy for _, s in points_of_series]
            axes.errorbar(places, shares, yerr=spreads, fmt="o-", color=color, capsize=3, label=f"{task}, {base}")
            for method, summary in points:
                if method.x is None:
                    axes.axhline(100 * summary.accuracy, ls="--", color=color, label=f"{method.name}, {task}")
        axes.set_xticks(sorted({v.x for v in findings.all_methods.values() if v.series == name and v.x is not None}))
        axes.set_xlabel(findings.experiment.axis or name)
        axes.set_ylabel("accuracy in %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)


def _entropy(canvas: "Figure", findings: Findings) -> None:
    """A panel for each target: the density of H for each method."""
    targets = _targets(findings)
    values = mean_nlls([result for result in findings.results if result.metrics is not None])
    canvas.set_size_inches(0.8 + 3.4 * len(targets), 3.0)
    for axes, target in zip(_panels(canvas, 1, len(targets)), targets, strict=True):
        groups = {method: h for (base, task, method), h in values.items() if (base, task) == target}
        if groups:
            all_h = np.concatenate(list(groups.values()))
            edges = np.linspace(0, max(float(np.quantile(all_h, 0.99)), 1e-6), _BINS + 1)
            for color, (method, h) in zip(COLORS, groups.items(), strict=False):
                clipped = np.clip(h, edges[0], edges[-1])  # the last bin holds the rest
                axes.hist(clipped, edges.tolist(), density=True, histtype="step", color=color, label=method)
            axes.legend(fontsize=7)
        axes.set_title(f"{target[1]}\n{target[0]}", fontsize=9)
        axes.set_xlabel("H in nats per token")
        axes.set_ylabel("density")


def _stability(canvas: "Figure", findings: Findings) -> None:
    """A panel for each target: mean and deviation over the instructions, and each of them as a dot."""
    targets = _targets(findings)
    series = {name: method.series for name, method in findings.all_methods.items()}
    shares = over_instructions(findings.summaries, series)
    canvas.set_size_inches(0.8 + 2.6 * len(targets), 3.0)
    for axes, target in zip(_panels(canvas, 1, len(targets), sharey=True), targets, strict=True):
        methods = {method: accuracies for (base, task, method), accuracies in shares.items() if (base, task) == target}
        for place, accuracies in enumerate(methods.values()):
            mean, deviation = mean_and_deviation(accuracies)
            color = COLORS[place % len(COLORS)]
            axes.bar([place], [100 * mean], yerr=[100 * (deviation or 0)], color=color, alpha=0.5, capsize=4)
            axes.plot([place] * len(accuracies), [100 * share for share in accuracies], ".", color="black")
        axes.set_xticks(range(len(methods)), list(methods))
        axes.set_title(f"{target[1]}\n{target[0]}", fontsize=9)
        axes.set_ylabel("accuracy in %")


def _categories(canvas: "Figure", findings: Findings) -> None:
    """A panel for each target: categories down, a dot for each method."""
    shares = by_category([result for result in findings.results if result.metrics is not None])
    most = max((len(next(iter(methods.values()), {})) for methods in shares.values()), default=1)
    canvas.set_size_inches(0.8 + 4.0 * len(shares), 1.2 + 0.2 * most)
    for axes, ((base, task), methods) in zip(_panels(canvas, 1, len(shares)), shares.items(), strict=True):
        names = sorted({name for by_category in methods.values() for name in by_category}, reverse=True)
        for color, (method, shares_of) in zip(COLORS, methods.items(), strict=False):
            places = [place for place, name in enumerate(names) if name in shares_of]
            axes.plot([100 * shares_of[names[place]] for place in places], places, "o", color=color, label=method, ms=4)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_xlabel("accuracy in %")
        axes.set_title(f"{task}\n{base}", fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)


_DRAWN: dict[str, Callable[["Figure", Findings], None]] = {
    "methods": _methods,
    "points": _points,
    "entropy": _entropy,
    "stability": _stability,
    "categories": _categories,
}


def _panels(canvas: "Figure", rows: int, columns: int, **sharing: Any) -> "Sequence[Axes]":
    return list(canvas.subplots(rows, max(columns, 1), squeeze=False, **sharing).flat)[:columns]


def _targets(findings: Findings) -> list[tuple[str, str]]:
    """(base, task) of everything that was measured."""
    return list(dict.fromkeys((s.base, s.task) for s in findings.summaries))


def _of(findings: Findings, base: str, task: str) -> list[Summary]:
    return [s for s in findings.summaries if (s.base, s.task) == (base, task)]


def _spread(summary: Summary) -> Any:
    """What lies below and above the accuracy, in points, (2, 1): the interval, or the deviation over seeds."""
    if summary.low is None or summary.high is None:
        return np.full((2, 1), 100 * (summary.deviation or 0.0))
    return 100 * np.array([[summary.accuracy - summary.low], [summary.high - summary.accuracy]])
