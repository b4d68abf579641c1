"""Examples on disk behave as a sequence and are not held."""

import pickle

import pytest

from samples import held
from semievol.data import digest, store
from semievol.data.store import BATCH
from semievol.records import Example


def example(number: int) -> Example:
    return Example(
        f"row-{number}", f"prompt {number}", None if number % 3 else "a", category="c" if number % 2 else None
    )


RICH = [
    Example("1", "ünï", "A", "because\nA", options=("x", ""), category="law"),
    Example("2", "p", context=({"role": "system", "content": ""}, {"role": "user", "content": "hm"})),
    Example("3", "", answer=""),
]


def test_examples_come_back_as_they_were(tmp_path):
    assert list(store(RICH, tmp_path)) == RICH


def test_it_is_a_sequence(tmp_path):
    plain = [example(number) for number in range(2 * BATCH + 10)]
    stored = store(plain, tmp_path)
    assert len(stored) == len(plain)
    assert list(stored) == plain
    assert [stored[0], stored[BATCH], stored[-1]] == [plain[0], plain[BATCH], plain[-1]]
    for part in (slice(3, 9), slice(BATCH - 2, BATCH + 2), slice(None, None, 100), slice(5, 5)):
        assert list(stored[part]) == plain[part]
    assert list(stored[100:300][50:60]) == plain[150:160]
    with pytest.raises(IndexError):
        stored[len(plain)]


def test_no_examples_can_be_stored(tmp_path):
    assert list(store([], tmp_path)) == []


def test_a_part_can_be_pickled_and_weighs_nothing(tmp_path):
    part = store(map(example, range(5000)), tmp_path)[1000:3000]
    pickled = pickle.dumps(part)
    assert len(pickled) < 1000
    assert list(pickle.loads(pickled)) == [example(number) for number in range(1000, 3000)]


def test_the_digest_is_that_of_the_rows_and_names_the_file(tmp_path):
    stored = store(RICH, tmp_path)
    assert digest(stored) == digest(RICH) == stored.path.stem
    assert digest(stored[1:]) == digest(RICH[1:])


def test_equal_rows_are_one_file_and_nothing_partial_stays(tmp_path):
    assert store(RICH, tmp_path).path == store(RICH, tmp_path).path

    def failing():
        yield RICH[0]
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        store(failing(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_folder_the_rows_outlive_the_call():
    assert list(store(RICH)) == RICH


def test_few_rows_are_in_memory_while_many_are_written_and_read(tmp_path):
    most = 0

    def watched(examples):
        nonlocal most
        for number, each in enumerate(examples):
            if number % 500 == 0:
                most = max(most, held(Example)[Example])
            yield each

    before = held(Example)[Example]
    stored = store(watched(example(number) for number in range(20 * BATCH)), tmp_path)
    for _ in watched(stored):
        pass
    assert most - before <= 3 * BATCH
