"""Parts of the labeled rows, so that each row is told by a model that has not seen it."""

from collections import defaultdict
from collections.abc import Sequence

from semievol.data.hashes import hashes
from semievol.records import Example


def folds(examples: Sequence[Example], count: int, seed: int) -> list[int]:
    """The part of each example, from 0; the parts of each answer, and of all, are as large as can be.

    Rows of one answer are shuffled by a hash of the seed and their ids and dealt out one after another, the next answer
    from where the last has ended: the order of the rows does not matter.

    Raises:
        ValueError: there are fewer examples than parts.
    """
    if len(examples) < count:
        raise ValueError(f"{len(examples)} labeled rows cannot be divided into {count} parts")
    rank = hashes(f"{seed}/fold/{example.id}" for example in examples)
    of_answer: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        of_answer[example.answer or ""].append(index)
    dealt = [index for answer in sorted(of_answer) for index in sorted(of_answer[answer], key=lambda i: rank[i])]
    parts = [0] * len(examples)
    for place, index in enumerate(dealt):
        parts[index] = place % count
    return parts
