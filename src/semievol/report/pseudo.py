"""What a round's selection says: the figures behind the page's part on pseudo-labels."""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from semievol import metrics
from semievol.report.charts import Curve, Histogram, coverage, histogram
from semievol.report.sources import Sources
from semievol.run_folder.parquet import iter_rows, rows_at
from semievol.run_folder.stage import Stage

MOST_CLASSES = 30
"""Where pseudo-labels have more different answers than this, they are not classes and have no balance."""
EXAMPLES = 5
"""Rows shown of the kept and of the dropped."""

PseudoRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Balance:
    """One answer's share among the labeled, kept and all pseudo-labeled rows; `None` if there are no rows."""

    answer: str
    labeled: float | None
    everything: float
    kept: float | None
    kept_rows: int
    truth: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Pseudo-labels that came about in one way."""

    name: str
    rows: int
    kept: int
    mean_agreement: float
    median_h: float | None
    accuracy: Mapping[str, Any] | None
    """As in `metrics.json`; `None` if the truth is not known."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One row for a person to look at."""

    row: PseudoRow
    prompt: str | None
    right: bool | None
    truth: str | None


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """A round's selection."""

    round: int
    rows: int
    kept: int
    criterion: str
    """`nll` or `agreement`."""
    tau: Any
    """A number, one for each answer, or `None` if selection is off."""
    reasons: tuple[tuple[str, int], ...]
    """Why rows were dropped, with H and agreement left out of the words."""
    accuracy: Mapping[str, Any] | None
    kept_accuracy: Mapping[str, Any] | None
    balance: tuple[Balance, ...]
    histogram: Histogram | None
    curve: Curve | None
    origins: tuple[Group, ...]
    agreements: tuple[Group, ...]
    surest: tuple[Shown, ...]
    """Kept rows with the lowest H."""
    least_sure: tuple[Shown, ...]
    """Dropped rows with the highest H."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the figures need of every row, each (N,)."""

    kept: npt.NDArray[np.bool_]
    h: npt.NDArray[np.float32]
    """NaN if there is none."""
    scored: npt.NDArray[np.bool_]
    """Whether there is an H."""
    agreement: npt.NDArray[np.int32]
    """The position in `agreements`."""
    agreements: list[float]
    origin: npt.NDArray[np.int8]
    """The position in `origins`."""
    origins: list[str]
    verdict: npt.NDArray[np.int8]
    """1 right, 0 wrong, -1 if the truth is not known."""


def pseudo_labels(round_: int, stage: Stage, sources: Sources) -> PseudoLabels:
    """The figures of a finished selection."""
    rows = _columns(stage, sources)
    summary = stage.summary()
    tau = summary.get("tau")
    criterion = summary.get("criterion") or "nll"
    tau_mark = tau if isinstance(tau, float) and criterion == "nll" else None
    all_rows = np.full(len(rows.kept), True)
    kept, dropped = (rows.scored & rows_of for rows_of in (rows.kept, ~rows.kept))
    has_truth = rows.scored & (rows.verdict >= 0)
    reasons = Counter(
        _reason(row["reason"]) for row in iter_rows(stage.rows_path, ["kept", "reason"]) if not row["kept"]
    )
    return PseudoLabels(
        round=round_,
        rows=len(rows.kept),
        kept=int(rows.kept.sum()),
        criterion=criterion,
        tau=tau,
        reasons=tuple(reasons.most_common()),
        accuracy=_accuracy(rows, all_rows),
        kept_accuracy=_accuracy(rows, rows.kept),
        balance=_balance(stage, sources),
        histogram=histogram(rows.h[kept], rows.h[dropped], tau_mark),
        curve=coverage(rows.h[has_truth], rows.verdict[has_truth]),
        origins=tuple(_group(name, rows, rows.origin == rows.origins.index(name)) for name in sorted(rows.origins)),
        agreements=tuple(
            _group(f"{100 * share:.0f} %", rows, rows.agreement == rows.agreements.index(share))
            for share in sorted(rows.agreements, reverse=True)
        ),
        surest=_shown(stage, _lowest(rows.h, kept), sources),
        least_sure=_shown(stage, _lowest(-rows.h, dropped), sources),
    )


def _columns(stage: Stage, sources: Sources) -> _Columns:
    kept, scored, origin, verdict = (array("b") for _ in range(4))
    agreement = array("i")  # shares of many collaborators' answers are more than fit into a byte
    h = array("f")
    origins: dict[str, int] = {}
    agreements: dict[float, int] = {}
    for row in iter_rows(stage.rows_path, ["id", "answer", "origin", "agreement", "mean_nll", "kept"]):
        right = sources.right(row["id"], row["answer"])
        kept.append(row["kept"])
        scored.append(row["mean_nll"] is not None)
        origin.append(origins.setdefault(row["origin"], len(origins)))
        verdict.append(-1 if right is None else right)
        h.append(math.nan if row["mean_nll"] is None else row["mean_nll"])
        agreement.append(agreements.setdefault(round(row["agreement"], 4), len(agreements)))
    return _Columns(
        kept=np.frombuffer(kept, dtype=bool),
        h=np.frombuffer(h, dtype=np.float32),
        scored=np.frombuffer(scored, dtype=bool),
        agreement=np.frombuffer(agreement, dtype=np.int32),
        agreements=list(agreements),
        origin=np.frombuffer(origin, dtype=np.int8),
        origins=list(origins),
        verdict=np.frombuffer(verdict, dtype=np.int8),
    )


def _accuracy(rows: _Columns, where: npt.NDArray[np.bool_]) -> Mapping[str, Any] | None:
    verdicts = rows.verdict[where & (rows.verdict >= 0)]
    return metrics.share(int(verdicts.sum()), len(verdicts)) if len(verdicts) else None


def _group(name: str, rows: _Columns, where: npt.NDArray[np.bool_]) -> Group:
    values = rows.h[where & rows.scored]
    return Group(
        name=name,
        rows=int(where.sum()),
        kept=int(rows.kept[where].sum()),
        mean_agreement=float(
            np.average(rows.agreements, weights=np.bincount(rows.agreement[where], minlength=len(rows.agreements)))
        ),
        median_h=float(np.median(values)) if len(values) else None,
        accuracy=_accuracy(rows, where),
    )


def _balance(stage: Stage, sources: Sources) -> tuple[Balance, ...]:
    """Answers by their share of the labeled rows; empty if answers are no classes."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    counts["labeled"].update(sources.labeled)
    for row in iter_rows(stage.rows_path, ["id", "answer", "kept"]):
        answer, truth = row["answer"], sources.truth.get(row["id"])
        for of, label in (("all", answer), ("kept", answer if row["kept"] else None), ("truth", truth)):
            if label is not None:
                counts[of][label] += 1
        if max(map(len, counts.values())) > MOST_CLASSES:
            return ()
    answers = sorted(
        {answer for counter in counts.values() for answer in counter},
        key=lambda a: (-counts["labeled"][a], -counts["all"][a], a),
    )
    if len(answers) > MOST_CLASSES:
        return ()

    def share(of: str, answer: str) -> float | None:
        total = counts[of].total()
        return counts[of][answer] / total if total else None

    return tuple(
        Balance(
            answer=answer,
            labeled=share("labeled", answer),
            everything=share("all", answer) or 0.0,
            kept=share("kept", answer),
            kept_rows=counts["kept"][answer],
            truth=share("truth", answer),
        )
        for answer in answers
    )


def _reason(text: str) -> str:
    """Why a row was dropped, without its own figures, so that equal reasons can be counted."""
    if text.startswith("H unknown"):
        return "H unknown"
    if text.startswith("H "):
        return "H above τ"
    return "agreement too low" if text.startswith("agreement ") else text


def _lowest(values: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> list[int]:
    """The positions of the few lowest of the values at `where`, the first of equals first."""
    among = values[where]
    if len(among) > EXAMPLES:
        among = np.partition(among, EXAMPLES - 1)
        where = where & (values <= among[EXAMPLES - 1])
    positions = np.flatnonzero(where)
    lowest: list[int] = positions[np.argsort(values[positions], kind="stable")][:EXAMPLES].tolist()
    return lowest


def _shown(stage: Stage, positions: Sequence[int], sources: Sources) -> tuple[Shown, ...]:
    """The rows at `positions`."""
    rows = rows_at(stage.rows_path, positions)
    prompts = sources.prompts({row["id"] for row in rows})
    return tuple(
        Shown(
            row=row,
            prompt=prompts.get(row["id"]),
            right=sources.right(row["id"], row["answer"]),
            truth=sources.truth.get(row["id"]),
        )
        for row in rows
    )
