"""What the cells of a grid say together: means over seeds, and paired differences."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from semievol import metrics
from semievol.experiments.grid import Result
from semievol.experiments.paper import reported

SURE = 0.05
"""Below this p-value a difference is called one."""


@dataclass(frozen=True)
class Summary:
    """A method on a task over its seeds; shares from 0 to 1."""

    task: str
    base: str
    method: str
    seeds: tuple[int, ...]
    accuracy: float
    deviation: float | None
    """Sample standard deviation over the seeds; `None` with one."""
    low: float | None
    high: float | None
    """The 95 % Wilson interval; `None` with several seeds, whose rows are not independent."""
    rows: int
    """Test rows of each seed."""
    macro_f1: float | None
    no_answer: int
    """Responses without a readable answer, over all seeds; they count as wrong."""
    paper: float | None
    """What the paper reports for the same model, in %."""
    most_frequent: float
    """The share that one answer for all test rows would have right, the mean over seeds: chance."""
    cut: int = 0
    """Responses that were cut for their length, over all seeds."""

    @property
    def is_above_chance(self) -> bool:
        """Whether the 95 % Wilson interval, of the rows of all seeds together, lies above chance."""
        rows = self.rows * len(self.seeds)
        low: float = metrics.share(round(self.accuracy * rows), rows)["low"]
        return low > self.most_frequent


@dataclass(frozen=True)
class Comparison:
    """One method against another on the same test rows; differences as shares."""

    task: str
    base: str
    method: str
    reference: str
    seeds: tuple[int, ...]
    difference: float
    """Accuracy of `method` less that of `reference`, the mean over seeds."""
    by_seed: tuple[float, ...]
    deviation: float | None
    low: float
    high: float
    """The 95 % interval of the difference, by a paired bootstrap over test rows and seeds."""
    ahead: int
    behind: int
    """Answers that only `method`, and only `reference`, has right, over all seeds."""
    p: float
    """McNemar's exact test; with several seeds, its extension to rows that are answered once in each."""
    p_corrected: float
    """After Holm, for all comparisons of the experiment; two of the same configs are one."""

    @property
    def settled(self) -> int:
        """1 if `method` is better, -1 if it is worse, 0 where that is open; without the correction."""
        return self._settled(self.p)

    @property
    def settled_corrected(self) -> int:
        """The same with the correction for all comparisons of the experiment."""
        return self._settled(self.p_corrected)

    def _settled(self, p: float) -> int:
        if p >= SURE or self.low <= 0 <= self.high:
            return 0
        return 1 if self.difference > 0 else -1


def summaries(results: Iterable[Result]) -> list[Summary]:
    """A summary of each method on each target, in the order of the results; failed cells are left out."""
    return [_summary(group) for group in _grouped(results).values()]


def comparisons(results: Sequence[Result], reference: str) -> list[Comparison]:
    """Each other method against the reference, if both were measured with the same seeds."""
    groups = _grouped(results)
    rows, made_from = [], []
    for (base, task, method), group in groups.items():
        against = groups.get((base, task, reference))
        if method == reference or against is None:
            continue
        seeds = sorted({r.seed for r in group} & {r.seed for r in against})
        if seeds:
            pair = [[r for r in results_of if r.seed in seeds] for results_of in (group, against)]
            rows.append(_compared(*pair))
            made_from.append(
                tuple((r.config_digest, r.model, r.outcomes.right) for results_of in pair for r in results_of)
            )
    # a sensitivity to n and to θ has the config's own n and θ in both
    different = dict(zip(made_from, (row["p"] for row in rows), strict=True))
    corrected = dict(zip(different, metrics.holm(list(different.values())), strict=True))
    return [Comparison(**row, p_corrected=corrected[origin]) for row, origin in zip(rows, made_from, strict=True)]


def _grouped(results: Iterable[Result]) -> dict[tuple[str, str, str], list[Result]]:
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        if result.metrics is not None:
            groups.setdefault((result.base, result.task, result.method), []).append(result)
    return {key: sorted(group, key=lambda r: r.seed) for key, group in groups.items()}


def _summary(group: Sequence[Result]) -> Summary:
    figures = [result.metrics or {} for result in group]
    mean, deviation = metrics.mean_and_deviation([figure["accuracy"] for figure in figures])
    f1 = [figure["macro_f1"] for figure in figures if figure.get("macro_f1") is not None]
    alone = len(group) == 1
    first = group[0]
    return Summary(
        task=first.task,
        base=first.base,
        method=first.method,
        seeds=tuple(result.seed for result in group),
        accuracy=mean,
        deviation=deviation,
        low=figures[0]["low"] if alone else None,
        high=figures[0]["high"] if alone else None,
        rows=figures[0]["rows"],
        macro_f1=metrics.mean_and_deviation(f1)[0] if f1 else None,
        no_answer=sum(figure.get("no_answer", 0) for figure in figures),
        cut=sum(figure.get("cut", 0) for figure in figures),
        paper=reported(first.base, first.task, first.method),
        most_frequent=fmean(map(_most_frequent, group)),
    )


def _most_frequent(result: Result) -> float:
    truth = Counter(result.outcomes.truth)
    return max(truth.values()) / truth.total()


def _compared(group: Sequence[Result], against: Sequence[Result]) -> dict[str, Any]:
    """The fields of a comparison but for the corrected p-value."""
    verdicts = [[_verdicts(result) for result in results_of] for results_of in (group, against)]
    ids = list(dict.fromkeys(id_ for by_id in verdicts[0] for id_ in by_id))
    first_matrix, second = (_matrix(by_seed_, ids) for by_seed_ in verdicts)
    gain = first_matrix - second  # (S, N)
    by_seed = tuple(float(seed_gain) for seed_gain in np.nanmean(gain, axis=1))
    mean, deviation = metrics.mean_and_deviation(by_seed)
    low, high = metrics.difference_interval(first_matrix, second)
    first = group[0]
    return {
        "task": first.task,
        "base": first.base,
        "method": first.method,
        "reference": against[0].method,
        "seeds": tuple(result.seed for result in group),
        "difference": mean,
        "by_seed": by_seed,
        "deviation": deviation,
        "low": low,
        "high": high,
        "ahead": int((gain == 1).sum()),
        "behind": int((gain == -1).sum()),
        "p": metrics.exchange_test(np.nansum(gain, axis=0).astype(int).tolist()),
    }


def _verdicts(result: Result) -> dict[str, bool]:
    """Test row -> whether it was answered right."""
    return dict(zip(result.outcomes.ids, result.outcomes.right, strict=True))


def _matrix(verdicts: Sequence[dict[str, bool]], ids: Sequence[str]) -> npt.NDArray[np.float64]:
    """1 for right, 0 for wrong and nan for a row that a seed does not have, (S, N)."""
    return np.array([[float(by_id[id_]) if id_ in by_id else np.nan for id_ in ids] for by_id in verdicts])
