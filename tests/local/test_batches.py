"""Prompts in batches that compute what they share once."""

import random
from dataclasses import dataclass

import pytest

from semievol.local.batches import CACHE_FACTOR, Batch, Tokens, batches, tree

INSTRUCTION = tuple(range(100, 120))
WHEAT = tuple(range(200, 230))
GOLD = tuple(range(300, 325))


@dataclass(frozen=True)
class Row:
    prompt: Tokens
    response: Tokens = ()
    weights: str = "base"
    coming: int = 0

    @property
    def tokens(self) -> Tokens:
        return self.prompt + self.response

    @property
    def kind(self) -> tuple[str, bool, int]:
        return self.weights, bool(self.response), self.coming


def whole(batch: Batch[Row]) -> list[Tokens]:
    """The tokens of each row, put together from the tree."""
    leaves = [batch.root + batch.stems[s] + leaf for s, leaf in zip(batch.stem_of_leaf, batch.leaves, strict=True)]
    return [leaves[leaf] for leaf in batch.leaf_of_row]


def random_rows(seed: int, count: int = 60) -> list[Row]:
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        stem = rng.choice([(), WHEAT, GOLD, WHEAT + GOLD])
        question = tuple(rng.randrange(50) for _ in range(rng.randrange(1, 12)))
        response = tuple(rng.randrange(50) for _ in range(rng.choice([0, 2])))
        rows.append(Row(INSTRUCTION + stem + question, response, rng.choice(["base", "warm"]), 0 if response else 4))
    return rows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [True, False])
def test_every_row_is_put_together_from_its_root_stem_and_leaf(seed: int, share: bool) -> None:
    rows = random_rows(seed)
    made = list(batches(rows, 300, share=share))
    assert sorted((row.tokens, row.kind) for batch in made for row in batch.rows) == sorted(
        (row.tokens, row.kind) for row in rows
    )
    for batch in made:
        assert whole(batch) == [row.tokens for row in batch.rows]
        assert len({row.kind for row in batch.rows}) == 1
        assert share or not (batch.root or any(batch.stems))


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_stays_within_its_budget(seed: int) -> None:
    for batch in batches(random_rows(seed), 200):
        if len(batch.rows) > 1:
            coming = batch.rows[0].coming
            assert batch.computed + coming * len(batch.rows) <= 200
            assert len(batch.rows) * (max(map(len, whole(batch))) + coming) <= CACHE_FACTOR * 200


@pytest.mark.parametrize("seed", range(5))
def test_padded_rows_stay_within_the_budget_too(seed: int) -> None:
    for batch in batches(random_rows(seed), 200, share=False):
        if len(batch.rows) > 1:
            assert len(batch.rows) * (max(map(len, batch.leaves)) + batch.rows[0].coming) <= 200


def test_sharing_computes_fewer_tokens() -> None:
    rows = random_rows(0)
    shared, alone = (sum(batch.computed for batch in batches(rows, 2000, share=share)) for share in (True, False))
    assert shared < alone / 2


def test_a_row_longer_than_the_budget_stands_alone() -> None:
    rows = [Row(tuple(range(n, n + 50))) for n in (0, 100)]
    assert [len(batch.rows) for batch in batches(rows, 10)] == [1, 1]


def test_the_base_comes_first_and_the_longest_before_the_shorter() -> None:
    rows = [Row((n,) * n, weights=weights) for weights in ("a-warm", "base") for n in (3, 9, 6)]
    made = list(batches(rows, 8))
    assert [batch.rows[0].weights for batch in made] == ["base"] * 3 + ["a-warm"] * 3
    assert [len(batch.rows[0].prompt) for batch in made] == [9, 6, 3] * 2


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = random_rows(1)
    shuffled = random.Random(2).sample(rows, len(rows))
    assert [whole(batch) for batch in batches(rows, 300)] == [whole(batch) for batch in batches(shuffled, 300)]


def test_an_example_that_some_rows_share_is_one_stem() -> None:
    rows = [Row(INSTRUCTION + stem + (n, n + 1)) for stem in (WHEAT, GOLD) for n in range(4)]
    batch = tree(rows)
    assert batch.root == INSTRUCTION
    assert sorted(batch.stems) == [WHEAT, GOLD]
    assert sorted(batch.leaves) == sorted([(n, n + 1) for n in range(4)] * 2)


def test_a_stem_that_saves_next_to_nothing_is_none() -> None:
    assert tree([Row((*INSTRUCTION, 1, 2, 3)), Row((*INSTRUCTION, 1, 2, 4)), Row((*INSTRUCTION, 9, 9))]).stems == [()]


def test_equal_rows_are_one_leaf() -> None:
    batch = tree([Row(WHEAT)] * 3 + [Row(GOLD)])
    assert len(batch.leaves) == 2
    assert sorted(batch.leaf_of_row) in ([0, 0, 0, 1], [0, 1, 1, 1])


def test_the_last_token_of_a_prompt_is_never_shared() -> None:
    batch = tree([Row(INSTRUCTION, response=(1,)), Row(INSTRUCTION, response=(2,))])
    assert batch.root == INSTRUCTION[:-1]
    assert sorted(batch.leaves) == [(INSTRUCTION[-1], 1), (INSTRUCTION[-1], 2)]


def test_a_prompt_that_is_the_beginning_of_another_keeps_its_last_token() -> None:
    batch = tree([Row(INSTRUCTION), Row(INSTRUCTION + WHEAT)])
    assert batch.root == INSTRUCTION[:-1]
    assert sorted(batch.leaves) == [INSTRUCTION[-1:], INSTRUCTION[-1:] + WHEAT]
