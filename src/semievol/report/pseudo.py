"""What a round's selection says: the figures behind the page's part on pseudo-labels."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from semievol import metrics
from semievol.report.charts import Curve, Histogram, coverage, histogram
from semievol.report.sources import Sources
from semievol.run_dir import StageDir, read_rows

MOST_CLASSES = 30
"""Where pseudo-labels have more different answers than this, they are not classes and have no balance."""
EXAMPLES = 5
"""Rows shown of the kept and of the dropped."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Balance:
    """One answer's share among the labeled, kept and all pseudo-labeled rows; `None` where there are no rows."""

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
    """As in `metrics.json`; `None` where the truth is not known."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One row for a person to look at."""

    row: Row
    prompt: str | None
    right: bool | None
    truth: str | None


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """A round's selection."""

    round: int
    rows: int
    kept: int
    tau: Any
    """A number, one for each answer, or `None` where selection is off."""
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


def pseudo_labels(round_: int, stage: StageDir, sources: Sources) -> PseudoLabels:
    """The figures of a finished selection."""
    rows = read_rows(stage.rows_path)
    tau = stage.summary().get("tau")
    kept = [row for row in rows if row["kept"]]
    scored = [row for row in rows if row["mean_nll"] is not None]
    known = [(row, right) for row in scored if (right := sources.right(row["id"], row["answer"])) is not None]
    dropped = sorted((row for row in scored if not row["kept"]), key=lambda row: -row["mean_nll"])
    by_agreement = sorted({round(row["agreement"], 4) for row in rows}, reverse=True)
    return PseudoLabels(
        round=round_,
        rows=len(rows),
        kept=len(kept),
        tau=tau,
        reasons=tuple(Counter(_reason(row) for row in rows if not row["kept"]).most_common()),
        accuracy=_accuracy(rows, sources),
        kept_accuracy=_accuracy(kept, sources),
        balance=_balance(rows, kept, sources),
        histogram=histogram(
            [row["mean_nll"] for row in scored if row["kept"]],
            [row["mean_nll"] for row in dropped],
            tau if isinstance(tau, float) else None,
        ),
        curve=coverage([row["mean_nll"] for row, _ in known], [right for _, right in known]),
        origins=tuple(
            _group(origin, [row for row in rows if row["origin"] == origin], sources)
            for origin in sorted({row["origin"] for row in rows})
        ),
        agreements=tuple(
            _group(f"{100 * share:.0f} %", [row for row in rows if round(row["agreement"], 4) == share], sources)
            for share in by_agreement
        ),
        surest=_shown(sorted((row for row in scored if row["kept"]), key=lambda row: row["mean_nll"]), sources),
        least_sure=_shown(dropped, sources),
    )


def _accuracy(rows: Sequence[Row], sources: Sources) -> Mapping[str, Any] | None:
    verdicts = [right for row in rows if (right := sources.right(row["id"], row["answer"])) is not None]
    return metrics.accuracy(verdicts) if verdicts else None


def _group(name: str, rows: Sequence[Row], sources: Sources) -> Group:
    values = [row["mean_nll"] for row in rows if row["mean_nll"] is not None]
    return Group(
        name=name,
        rows=len(rows),
        kept=sum(row["kept"] for row in rows),
        mean_agreement=sum(row["agreement"] for row in rows) / len(rows),
        median_h=median(values) if values else None,
        accuracy=_accuracy(rows, sources),
    )


def _balance(rows: Sequence[Row], kept: Sequence[Row], sources: Sources) -> tuple[Balance, ...]:
    """Answers by their share of the labeled rows; empty where answers are no classes."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    counts["labeled"].update(sources.labeled)
    counts["all"].update(row["answer"] for row in rows if row["answer"] is not None)
    counts["kept"].update(row["answer"] for row in kept)
    counts["truth"].update(sources.truth[row["id"]] for row in rows if row["id"] in sources.truth)
    answers = sorted(
        {answer for each in counts.values() for answer in each},
        key=lambda a: (-counts["labeled"][a], -counts["all"][a], a),
    )
    if not answers or len(answers) > MOST_CLASSES:
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


def _reason(row: Row) -> str:
    """Why a row was dropped, without its own figures, so that equal reasons can be counted."""
    text = str(row["reason"])
    if text.startswith("H "):
        return "H above τ"
    return "agreement too low" if text.startswith("agreement ") else text


def _shown(rows: Sequence[Row], sources: Sources) -> tuple[Shown, ...]:
    return tuple(
        Shown(
            row=row,
            prompt=sources.prompts.get(row["id"]),
            right=sources.right(row["id"], row["answer"]),
            truth=sources.truth.get(row["id"]),
        )
        for row in rows[:EXAMPLES]
    )
