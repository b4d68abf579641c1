"""Whether the ways give the same: greedy answers, samples in distribution, H, loss curves."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semievol.metrics import accuracy

from .workloads import Workload, row_of


def same_share(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, int]:
    """How many texts are equal, of how many."""
    return {"equal": sum(text == theirs.get(key) for key, text in ours.items()), "of": len(ours)}


def samples(folder: Path, repetitions: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Accuracy of one way's samples, and the share of pairs of collaborators that agree, with 95 % intervals.

    The intervals are for the draw of the samples. The rows are the same for all ways.

    Args:
        repetitions: of each repetition, the texts by request id.
    """
    from semievol.data import load

    workload = Workload(folder)
    dataset = load(workload.config)
    rows = {example.id: example for example in dataset.unlabeled}
    truth = workload.facts["truth"]
    right: list[bool] = []
    agree: list[bool] = []
    for texts in repetitions:
        answers: dict[str, list[str | None]] = {}
        for key, text in texts.items():
            if not key.endswith("/justify"):
                row = row_of(key)
                answers.setdefault(row, []).append(dataset.task.parse(text, rows[row]))
        for row, given in answers.items():
            right += [one is not None and dataset.task.equal(one, truth[row]) for one in given]
            agree += [one == other for one, other in itertools.combinations(given, 2)]
    return {"accuracy": accuracy(right), "agreement": accuracy(agree)}


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float] | None:
    """The largest and the mean absolute difference of two curves; `None` if there is nothing to compare.

    Raises:
        ValueError: the curves have not the same number of points.
    """
    gaps = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    return {"largest": max(gaps), "mean": statistics.mean(gaps)} if gaps else None


def nll_difference(ours: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> dict[str, float] | None:
    """The difference of H over the rows that both have scored."""
    keys = [key for key, value in ours.items() if value is not None and theirs.get(key) is not None]
    return difference([ours[key] or 0.0 for key in keys], [theirs[key] or 0.0 for key in keys])
