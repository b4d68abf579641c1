"""Batches of prompts in which what prompts share is computed once.

A batch is a tree of three levels. The *root* is what all its prompts begin with, the instruction for instance. A *stem*
is what some of them share beyond it, such as a retrieved example. A *leaf* is the rest of one prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, Protocol, TypeVar

Tokens = tuple[int, ...]

SHORTEST_STEM = 8
"""Tokens that a stem must save, over all its leaves: each stem is one more row of the attention over stems."""
CACHE_FACTOR = 4
"""How many times `budget` tokens of keys and values a batch may hold. What is shared is computed once, and yet its
keys and values are there once for each row."""


class Batchable(Protocol):
    """What is put into batches."""

    @property
    def prompt(self) -> Tokens:
        """The tokens before the answer."""

    @property
    def response(self) -> Tokens:
        """The tokens of an answer that is given."""

    @property
    def kind(self) -> tuple[str, bool, int]:
        """Rows of one kind can share a batch: the weights, whether an answer is scored, tokens that may be drawn."""


R = TypeVar("R", bound=Batchable)


@dataclass
class Batch(Generic[R]):
    """Rows that are computed together."""

    root: Tokens = ()
    stems: list[Tokens] = field(default_factory=list)
    leaves: list[Tokens] = field(default_factory=list)
    stem_of_leaf: list[int] = field(default_factory=list)
    rows: list[R] = field(default_factory=list)
    leaf_of_row: list[int] = field(default_factory=list)

    @property
    def computed(self) -> int:
        """Tokens of the whole tree."""
        return len(self.root) + sum(map(len, self.stems)) + sum(map(len, self.leaves))

    def add(self, stem: Tokens, leaf: Tokens, rows: Sequence[R]) -> None:
        """Puts in rows that are one leaf; a stem's leaves come one after another."""
        if not self.stems or self.stems[-1] != stem:
            self.stems.append(stem)
        if not self.leaves or self.leaves[-1] != leaf or self.stem_of_leaf[-1] != len(self.stems) - 1:
            self.leaves.append(leaf)
            self.stem_of_leaf.append(len(self.stems) - 1)
        self.rows += rows
        self.leaf_of_row += [len(self.leaves) - 1] * len(rows)


@dataclass(frozen=True)
class _Bough(Generic[R]):
    """A stem with its leaves; `rows` are those of each leaf."""

    stem: Tokens
    leaves: tuple[Tokens, ...]
    rows: tuple[tuple[R, ...], ...]

    @property
    def size(self) -> tuple[int, int]:
        return max(map(len, self.leaves)), len(self.stem)


def batches(rows: Sequence[R], budget: int, *, share: bool = True) -> Iterator[Batch[R]]:
    """Rows of one kind together, the longest first, in batches of at most `budget` tokens with those to be drawn.

    The longest come first because memory that suffices for the first batch suffices for all. The same rows give the
    same batches. Equal rows are one leaf.

    Args:
        share: whether prompts may share their beginnings; if not, a leaf is a whole prompt.
    """

    def kind(row: R) -> tuple[bool, tuple[str, bool, int]]:
        # All kinds of the same weights in a row, the base first: changing weights costs time.
        return row.kind[0] != "base", row.kind

    for (_, (_, _, coming)), group in groupby(sorted(rows, key=kind), kind):
        alike = _alike(list(group))
        root, boughs = _tree(alike, share)
        boughs.sort(key=lambda bough: bough.size, reverse=True)
        most_cached = budget * (CACHE_FACTOR if share else 1)  # padded rows are computed as long as they are cached
        yield from _filled(root, boughs, coming, budget, most_cached)


def tree(rows: Sequence[R], *, share: bool = True) -> Batch[R]:
    """All rows in one batch."""
    root, boughs = _tree(_alike(rows), share)
    batch: Batch[R] = Batch(root)
    for bough in boughs:
        for leaf, group in zip(bough.leaves, bough.rows, strict=True):
            batch.add(bough.stem, leaf, group)
    return batch


def shared(first: Tokens, second: Tokens) -> int:
    """How many tokens two sequences have in common at their beginnings."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _alike(rows: Sequence[R]) -> list[tuple[R, ...]]:
    """The rows in groups of equal ones, sorted by their tokens."""

    def key(row: R) -> tuple[Tokens, int]:
        return row.prompt + row.response, len(row.prompt)

    return [tuple(group) for _, group in groupby(sorted(rows, key=key), key)]


def _tree(alike: Sequence[tuple[R, ...]], share: bool) -> tuple[Tokens, list[_Bough[R]]]:
    """The root, and neighbours in the sorted order under one stem as long as each further one saves tokens.

    The last token of a prompt is never shared: its logits are wanted.
    """
    if not share:
        return (), [_Bough((), (group[0].prompt + group[0].response,), (group,)) for group in alike]
    heads = [group[0].prompt[:-1] for group in alike]
    root = shared(min(heads), max(heads)) if len(alike) > 1 else 0  # what is sorted between them begins alike too
    boughs = []
    start = 0
    while start < len(alike):
        end, length = start + 1, root
        stem = heads[start]
        while end < len(alike):
            common = shared(stem, heads[end])
            if (end - start) * (common - root) <= (end - start - 1) * (length - root):
                break
            stem, end, length = stem[:common], end + 1, common
        if (end - start - 1) * (length - root) < SHORTEST_STEM:
            end, length = start + 1, root
        rows = tuple(alike[start:end])
        leaves = tuple((group[0].prompt + group[0].response)[length:] for group in rows)
        boughs.append(_Bough(heads[start][root:length], leaves, rows))
        start = end
    return heads[0][:root], boughs


def _filled(
    root: Tokens, boughs: Sequence[_Bough[R]], coming: int, budget: int, most_cached: int
) -> Iterator[Batch[R]]:
    """Batches of boughs in their order; a bough that does not fit is continued in the next batch.

    Args:
        coming: how many tokens each row may still generate.
        budget: the most tokens that a batch computes.
        most_cached: the most that rows times the longest of them may be.
    """
    batch, computed, longest = Batch[R](root), len(root), 0
    for bough in boughs:
        for number, (leaf, group) in enumerate(zip(bough.leaves, bough.rows, strict=True)):
            length = len(root) + len(bough.stem) + len(leaf) + coming
            for row in group:
                new_leaf, new_stem = row is group[0], row is group[0] and number == 0
                tokens = coming + new_leaf * len(leaf) + new_stem * len(bough.stem)
                cached = (len(batch.rows) + 1) * max(longest, length)
                if batch.rows and (computed + tokens > budget or cached > most_cached):
                    yield batch
                    batch, computed, longest = Batch[R](root), len(root), 0
                    tokens = coming + len(leaf) + len(bough.stem)
                batch.add(bough.stem, leaf, [row])
                computed, longest = computed + tokens, max(longest, length)
    if batch.rows:
        yield batch
