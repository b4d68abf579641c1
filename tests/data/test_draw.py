import pytest

from semievol.data.draw import Ranks
from semievol.data.table import Row
from semievol.errors import DataError


def drawn(count, seed=0, **ranks):
    def rows(wanted):
        return (Row(index, {}) for index in range(count))

    return [row.index for row in Ranks(**ranks).draw(rows, (), seed, "rows.csv")]


def test_without_a_limit_every_row_is_taken_in_order():
    assert drawn(10) == list(range(10))


def test_a_draw_keeps_the_order_of_the_source_and_depends_on_the_seed():
    first, second = drawn(1000, seed=0, take=50), drawn(1000, seed=1, take=50)
    assert first == sorted(first)
    assert len(set(first)) == len(set(second)) == 50
    assert first != second
    assert first == drawn(1000, seed=0, take=50)


def test_a_draw_is_not_the_head_of_the_source():
    assert max(drawn(1000, take=50)) > 800


def test_a_larger_draw_contains_a_smaller():
    assert set(drawn(1000, take=50)) < set(drawn(1000, take=60))


def test_draws_of_one_source_do_not_overlap_and_leave_nothing_out():
    front, middle, rest = drawn(100, take=20), drawn(100, skip=20, take=30), drawn(100, skip=50)
    assert sorted(front + middle + rest) == list(range(100))


def test_more_rows_than_there_are_cannot_be_drawn():
    with pytest.raises(DataError, match=r"rows\.csv: 11 rows are asked for, and there are 10"):
        drawn(10, take=11)
    with pytest.raises(DataError, match="5 rows are asked for beside the 8 of other splits, and there are 10"):
        drawn(10, skip=8, take=5)


@pytest.mark.parametrize("ranks", [{"skip": 3, "take": 4}, {"take": 900}, {"skip": 100}])
def test_no_row_is_held(ranks):
    alive = peak = 0

    class Counted(dict):
        def __init__(self):
            nonlocal alive, peak
            alive += 1
            peak = max(peak, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    def rows(wanted):
        return (Row(index, Counted()) for index in range(1000))

    for _ in Ranks(**ranks).draw(rows, (), 0, "rows.csv"):
        pass
    assert peak < 5


def test_rows_are_counted_without_reading_their_cells():
    asked = []

    def rows(wanted):
        asked.append(set(wanted))
        return (Row(index, {}) for index in range(10))

    list(Ranks(take=4).draw(rows, {"prompt"}, 0, "rows.csv"))
    assert asked == [set(), {"prompt"}]
