"""The geometry of the page's charts; templates/charts.html draws it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 640.0, 220.0
"""The plot area, in the units of the SVG."""
BINS = 32
_SHOWN_SHARE = 0.99
"""The histogram ends at this quantile of H; its last bin holds the rest, or a few outliers would flatten it."""
_MOST_POINTS = 200
_NARROWEST = 1e-6
"""A range narrower than this, next to its values, is one value: rounding alone makes it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin of the histogram, dropped rows on top of kept ones."""

    x: float
    width: float
    kept_y: float
    kept_height: float
    dropped_y: float
    dropped_height: float
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """How H is distributed."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    tau: float | None
    """Where τ stands, in the units of the SVG; `None` if there is not one τ."""
    tau_label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy of the pseudo-labels with the lowest H, over the share of rows taken."""

    points: str
    """For `<polyline points>`."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[float, float, int], ...]
    """Coverage, accuracy and rows at each tenth, for those who read numbers."""


def histogram(kept: npt.ArrayLike, dropped: npt.ArrayLike, tau: float | None) -> Histogram | None:
    """The histogram of H in nats per token; `None` without finite values, which are all that it counts."""
    kept, dropped = _finite(kept), _finite(dropped)
    values = np.concatenate([kept, dropped])
    if not len(values):
        return None
    low = float(values.min())
    quantile = float(np.quantile(values, _SHOWN_SHARE, overwrite_input=True))  # its copy would be the largest array
    high = max(quantile, tau if tau is not None and math.isfinite(tau) else low)
    if high - low <= _NARROWEST * max(1.0, abs(low)):
        high = low + max(1.0, abs(low))
    high = float(values.dtype.type(high))  # what is clipped to it lies in the last bin
    del values
    edges = np.linspace(low, high, BINS + 1)
    counts = [np.histogram(np.clip(values, low, high), edges)[0] for values in (kept, dropped)]
    top = max(1, int((counts[0] + counts[1]).max()))
    width = WIDTH / BINS
    bars = []
    for index, (kept_count, dropped_count) in enumerate(zip(*counts, strict=True)):
        one_height, other_height = HEIGHT * int(kept_count) / top, HEIGHT * int(dropped_count) / top
        beyond = " and more" if index == BINS - 1 else ""
        bars.append(
            Bar(
                x=round(index * width, 2),
                width=round(width - 1, 2),
                kept_y=round(HEIGHT - one_height, 2),
                kept_height=round(one_height, 2),
                dropped_y=round(HEIGHT - one_height - other_height, 2),
                dropped_height=round(other_height, 2),
                title=f"H {edges[index]:.3g} to {edges[index + 1]:.3g}{beyond}: "
                f"{kept_count} kept, {dropped_count} dropped",
            )
        )
    shows_tau = tau is not None and low <= tau <= high
    return Histogram(
        bars=tuple(bars),
        x_ticks=tuple(Tick(round(WIDTH * (t - low) / (high - low), 2), f"{t:g}") for t in ticks(low, high)),
        y_ticks=tuple(Tick(round(HEIGHT * (1 - t / top), 2), f"{t:g}") for t in ticks(0, top) if t == int(t)),
        tau=round(WIDTH * (tau - low) / (high - low), 2) if shows_tau and tau is not None else None,
        tau_label=f"τ = {tau:.3g}" if tau is not None else "",
    )


def _finite(values: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    floats = _floats(values)
    finite: npt.NDArray[np.floating[Any]] = floats[np.isfinite(floats)]
    return finite


def _floats(values: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    """The values in the type that they have, if that is one of floats."""
    array = np.asarray(values)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(float)


def coverage(mean_nlls: npt.ArrayLike, right: npt.ArrayLike) -> Curve | None:
    """The accuracy of the rows with the lowest H, at growing shares of the rows; `None` under ten rows.

    Rows with one H are taken together, or their order in the file would show.
    """
    unsorted = _floats(mean_nlls)
    total = len(unsorted)
    if total < 10:
        return None
    order = np.argsort(unsorted, kind="stable")
    sorted_h = unsorted[order]
    hits = np.cumsum(np.asarray(right, dtype=int)[order])
    ends = np.append(np.flatnonzero(sorted_h[1:] != sorted_h[:-1]), total - 1)
    ends = ends[ends + 1 >= min(10, total // 10)]
    shown_ends = ends[:: max(1, len(ends) // _MOST_POINTS)].tolist()
    shown_ends = shown_ends if shown_ends[-1] == ends[-1] else [*shown_ends, int(ends[-1])]
    shares = [float(hits[i]) / (i + 1) for i in shown_ends]
    bottom = max(0.0, math.floor(min(shares) * 10 - 1e-9) / 10 - 0.1)
    points = [
        f"{WIDTH * (i + 1) / total:.1f},{HEIGHT * (1 - (share - bottom) / (1 - bottom)):.1f}"
        for i, share in zip(shown_ends, shares, strict=True)
    ]
    tenths = sorted({_nearest(ends, total * tenth / 10) for tenth in range(1, 11)})
    return Curve(
        points=" ".join(points),
        x_ticks=tuple(Tick(WIDTH * t / 100, f"{t} %") for t in range(0, 101, 20)),
        y_ticks=tuple(
            Tick(round(HEIGHT * (1 - (t - bottom) / (1 - bottom)), 2), f"{100 * t:.0f} %") for t in ticks(bottom, 1.0)
        ),
        rows=tuple(((i + 1) / total, float(hits[i]) / (i + 1), i + 1) for i in tenths),
    )


def _nearest(ends: npt.NDArray[np.int64], rows: float) -> int:
    return int(ends[np.abs(ends + 1 - rows).argmin()])


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`; `low` alone if they do not differ."""
    if not low < high:
        return [low]
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    start = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(start, math.floor(high / step + 1e-9) + 1)]
