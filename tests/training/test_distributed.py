"""Which rows each of several processes trains on."""

from itertools import chain

import pytest

pytest.importorskip("torch")

from semievol.training.distributed import Turns

ROWS = 21


def steps(batch: int, passes: int, workers: int, epoch: int = 0) -> list[list[list[int]]]:
    """The rows that each worker has in each step."""
    found = []
    for rank in range(workers):
        turns = Turns(ROWS, batch, passes, 5, workers, rank)
        turns.epoch = epoch
        rows = list(turns)
        assert len(rows) == len(turns)
        assert max(map(len, rows)) <= batch
        found.append([list(chain(*rows[start : start + passes])) for start in range(0, len(rows), passes)])
    assert len({len(own) for own in found}) == 1
    return [[own[step] for own in found] for step in range(len(found[0]))]


@pytest.mark.parametrize(("batch", "passes", "workers"), [(2, 2, 2), (1, 4, 2), (1, 2, 4), (1, 1, 8)])
def test_steps_hold_the_rows_that_one_process_has_in_them_and_no_worker_has_those_of_another(
    batch: int, passes: int, workers: int
) -> None:
    alone = steps(2, 4, 1)
    together = steps(batch, passes, workers)
    assert [sorted(chain(*step)) for step in together] == [sorted(own) for (own,) in alone]


def test_each_epoch_has_all_rows_in_an_order_of_its_own() -> None:
    first, second = (list(chain(*(own for (own,) in steps(2, 4, 1, epoch)))) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
