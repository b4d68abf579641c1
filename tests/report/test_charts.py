import re

import numpy as np
import pytest

from semievol.report.charts import HEIGHT, WIDTH, coverage, histogram, ticks


def test_no_values_no_histogram():
    assert histogram([], [], None) is None


def test_bars_hold_every_row_once_outliers_included():
    kept, dropped = [i / 100 for i in range(50)], [1.0, 2.0, 500.0]
    chart = histogram(kept, dropped, 0.49)
    counts = [
        tuple(int(word) for word in bar.title.rpartition(": ")[2].replace(",", "").split()[::2]) for bar in chart.bars
    ]
    assert sum(count for count, _ in counts) == 50
    assert sum(count for _, count in counts) == 3


def test_tau_stands_between_kept_and_dropped_bars():
    chart = histogram([0.0, 1.0], [3.0, 4.0], 2.0)
    last_kept = max(bar.x for bar in chart.bars if bar.kept_height)
    first_dropped = min(bar.x for bar in chart.bars if bar.dropped_height)
    assert last_kept < chart.tau < first_dropped


@pytest.mark.parametrize("values", [[0.5], [0.5] * 20, [0.0, 0.0]])
def test_equal_values_still_make_a_histogram(values):
    chart = histogram(values, [], values[0])
    assert max(bar.kept_height for bar in chart.bars) == HEIGHT


@pytest.mark.parametrize(
    ("kept", "dropped", "tau"),
    [
        (np.full(3, 0.1, dtype=np.float32), [], 0.1),  # τ in double precision lies a hair above all H
        (np.array([0.3, np.nextafter(np.float32(0.3), np.float32(1))], dtype=np.float32), [], 0.3),
        (np.array([2.5e9], dtype=np.float32), [], 2.5e9),
        ([0.2], [float("inf"), float("nan")], float("inf")),
    ],
)
def test_what_is_alike_but_for_rounding_or_not_finite_still_makes_a_histogram(kept, dropped, tau):
    chart = histogram(kept, dropped, tau)
    assert max(bar.kept_height for bar in chart.bars) == HEIGHT
    assert len({tick.label for tick in chart.x_ticks}) == len(chart.x_ticks)


def test_without_a_finite_value_there_is_no_histogram():
    assert histogram([float("nan")], [float("inf")], None) is None


def test_no_range_has_one_tick():
    assert ticks(2.0, 2.0) == [2.0]


def test_the_curve_ends_at_full_coverage_with_the_accuracy_of_all_rows():
    curve = coverage([i / 100 for i in range(100)], [i < 60 for i in range(100)])
    assert curve.rows[-1] == (1.0, 0.6, 100)
    assert curve.rows[4] == (0.5, 1.0, 50)
    assert float(curve.points.split()[-1].split(",")[0]) == WIDTH


def test_rows_of_one_h_are_taken_together_whatever_their_order():
    right = [True] * 10 + [False] * 10
    one, other = (coverage([0.1] * 20, verdicts) for verdicts in (right, right[::-1]))
    assert one == other
    assert one.rows == ((1.0, 0.5, 20),)


def test_a_handful_of_rows_makes_no_curve():
    assert coverage([0.1] * 9, [True] * 9) is None


def test_points_stay_inside_the_plot():
    curve = coverage([i / 1000 for i in range(1000)], [i % 3 == 0 for i in range(1000)])
    for point in curve.points.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_ticks_are_round_and_inside():
    assert ticks(0.03, 1.1) == [0.25, 0.5, 0.75, 1.0]
    assert ticks(0, 46) == [0, 10, 20, 30, 40]
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_values_in_single_precision_all_fall_into_bins():
    values = np.linspace(0, 3, 1000, dtype=np.float32)
    for tau in (0.1, 2.999999, 3.3, None):
        chart = histogram(values[:500], values[500:], tau)
        assert sum(int(re.search(r": (\d+) kept, (\d+) dropped", bar.title)[1]) for bar in chart.bars) == 500
        assert sum(int(re.search(r": (\d+) kept, (\d+) dropped", bar.title)[2]) for bar in chart.bars) == 500
