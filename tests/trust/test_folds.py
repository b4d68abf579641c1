"""Each labeled row is in one part, and each answer is spread over all of them."""

from collections import Counter

import pytest

from semievol.records import Example
from semievol.trust.folds import folds

EXAMPLES = [Example(f"row-{i}", "text", answer) for i, answer in enumerate("a" * 13 + "b" * 6 + "c")]


def test_parts_of_all_and_of_each_answer_are_as_large_as_can_be() -> None:
    parts = folds(EXAMPLES, 4, seed=0)
    assert Counter(parts) == {0: 5, 1: 5, 2: 5, 3: 5}
    of_a = Counter(part for part, example in zip(parts, EXAMPLES, strict=True) if example.answer == "a")
    assert sorted(of_a.values()) == [3, 3, 3, 4]


def test_the_order_of_the_rows_does_not_matter() -> None:
    parts = dict(zip([e.id for e in EXAMPLES], folds(EXAMPLES, 4, seed=0), strict=True))
    reverse = EXAMPLES[::-1]
    assert dict(zip([e.id for e in reverse], folds(reverse, 4, seed=0), strict=True)) == parts


def test_another_seed_gives_other_parts() -> None:
    assert folds(EXAMPLES, 4, seed=0) != folds(EXAMPLES, 4, seed=1)


def test_fewer_rows_than_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 labeled rows cannot be divided into 4 parts"):
        folds(EXAMPLES[:3], 4, seed=0)
