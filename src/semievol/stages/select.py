"""Adaptive selection (Eq. 6-8): rows whose H is at most the θ-th percentile are kept.

Without log-probabilities there is no H, and the collaborators' agreement takes its place. Beyond the paper, rows can be
kept by the calibrated probability of their answers, with a promise of how many are right, see `trust.rules`. Shards are
read one after another; of all rows together, only H is in memory.
"""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from semievol.config import SelectConfig
from semievol.errors import BackendError
from semievol.records import PseudoLabel, possible
from semievol.run_folder.parquet import read_columns, write_tables
from semievol.run_folder.schema import schema_of
from semievol.run_folder.stage import Stage
from semievol.stages.round import Round
from semievol.trust import Array
from semievol.trust.estimates import Promise, estimate
from semievol.trust.rules import least_for_error, least_for_precision
from semievol.trust.shares import departure

SCHEMA = schema_of(PseudoLabel)

COMPARED = ["answer", "response", "origin", "agreement", "mean_nll", "probability"]
"""What thresholds are made of."""
CLASSES = 50
"""Up to so many different answers are classes, and their balance tells; more are free text."""

Thresholds = Mapping[str, float]
"""τ of each answer, or of "" if it is one for all."""


def select(round_: Round, justified: Stage) -> Stage:
    """The stage folder with every unlabeled row, kept or not, and the reason."""
    stage = round_.stage("select")
    section = round_.config.select
    key = round_.key("select", justify=justified.digest, select=section.model_dump(mode="json"))
    if round_.begin(stage, key, justified.revision, reads_rows=True):
        held_out = held_out_rows(justified) if round_.config.justify.calibrates else None
        if section.enabled and section.rule != "theta":
            section = section.model_copy(update={"criterion": "probability"})
        elif section.enabled and section.criterion == "auto":
            section = section.model_copy(update={"criterion": _criterion(round_, justified)})
        taus = thresholds(justified.shards.tables(COMPARED), section, held_out)
        totals: Counter[str] = Counter(rows=0, kept=0)
        kept_by_answer: Counter[str] = Counter()
        probabilities = array("d")

        def tables() -> Iterator[pa.Table]:
            for table in justified.shards.tables():
                decisions = decide(table, section, taus)
                kept = [is_kept for is_kept, _ in decisions]
                totals.update(rows=len(kept), kept=sum(kept))
                if len(kept_by_answer) <= CLASSES:
                    for answer, is_kept in zip(table["answer"].to_pylist(), kept, strict=True):
                        if answer is not None:
                            kept_by_answer[answer] += is_kept
                decided = {"kept": kept, "reason": [reason for _, reason in decisions]}
                decided["round"] = [round_.number] * len(kept)
                decided["weight"] = weights(table, kept, section)
                of_rows = zip(table["probability"].to_pylist(), kept, strict=True)
                probabilities.extend(p for p, is_kept in of_rows if is_kept and p is not None)
                columns = [pa.array(values, SCHEMA.field(name).type) for name, values in decided.items()]
                yield pa.table([*table.columns, *columns], schema=SCHEMA)

        write_tables(stage.rows_path, tables(), SCHEMA)
        _say_departure(round_, kept_by_answer)
        promised = _promised(probabilities, section, taus, held_out)
        for promise in promised.values():
            round_.reporter.say(f"select: {totals['kept']} of {totals['rows']} rows kept; {promise}")
        round_.finish(
            stage,
            {
                **totals,
                "rule": section.rule if section.enabled else None,
                "criterion": section.criterion if section.enabled else None,
                "tau": _tau_summary(taus, section),
                **{name: promise.as_dict() for name, promise in promised.items()},
                "kept_by_answer": dict(sorted(kept_by_answer.items())) if len(kept_by_answer) <= CLASSES else {},
            },
        )
    return stage


def _say_departure(round_: Round, kept_by_answer: Mapping[str, int]) -> None:
    """Says so if the kept answers of a closed set have other shares than the labels."""
    answers = round_.task.answers()
    if answers is None or len(answers) > CLASSES:
        return
    labels = Counter(example.answer for example in round_.labeled if example.answer is not None)
    if other_shares := departure(labels, kept_by_answer):
        round_.reporter.say(f"select: the kept answers have other shares than the labels: {other_shares}")


def _criterion(round_: Round, justified: Stage) -> Literal["nll", "agreement"]:
    """What `auto` stands for: H, unless no row with an answer has one."""
    has_answers = False
    for table in justified.shards.tables(["answer", "mean_nll"]):
        for answer, h in _values(table, "answer", "mean_nll"):
            if answer is not None and _known(h):
                return "nll"
            has_answers = has_answers or answer is not None
    if not has_answers:
        return "nll"
    round_.reporter.say("select: the engine gave no log-probabilities, so rows are kept by agreement instead of H")
    return "agreement"


def threshold(scores: Sequence[float], theta: float) -> float:
    """τ: the θ-quantile of H in nats per token, linearly interpolated (Eq. 7); -inf over no rows.

    An unknown H counts as infinite. If the quantile falls among those, τ is the highest H that is known.
    """
    values = np.asarray(scores, dtype=float)
    finite = values < math.inf
    count = int(finite.sum())
    if not count:
        return -math.inf
    if count < len(values) and theta * (len(values) - 1) >= count - 1:
        return float(values[finite].max())
    return float(np.quantile(values, theta))


class HeldOut(NamedTuple):
    """What is said of the labeled rows out of fold."""

    answers: list[str]
    probabilities: Array
    right: list[bool]


def held_out_rows(justified: Stage) -> HeldOut:
    """Those that `justify` left."""
    table = read_columns(justified.known_path, ["answer", "probability", "right"])
    probabilities = table["probability"].to_numpy().astype(float)
    return HeldOut(table["answer"].to_pylist(), probabilities, table["right"].to_pylist())


def thresholds(tables: Iterable[pa.Table], config: SelectConfig, held_out: HeldOut | None = None) -> Thresholds:
    """τ over all rows of `tables` that have an answer; nothing if selection is off.

    Args:
        held_out: needed by the rules that promise how many rows are right.

    Raises:
        BackendError: rows have answers and none has an H, because the engine gives no log-probabilities.
    """
    groups: dict[str, array[float]] = defaultdict(lambda: array("d"))
    for table in tables if config.enabled else ():
        for answer, response, origin, agreement, h, probability in _values(table, *COMPARED):
            if answer is not None and response is not None and _filtered(origin, config):
                groups[_group(answer, config)].append(_score(agreement, h, probability, config))
    if groups and all(score == math.inf for scores in groups.values() for score in scores):
        raise BackendError(
            "select needs log-probabilities and the engine gave none; set select.criterion to agreement or auto, "
            "or use another backend"
        )
    if config.rule != "theta":
        return {group: 1 - _least(1 - np.asarray(scores), config, held_out) for group, scores in groups.items()}
    return {group: threshold(scores, config.theta) for group, scores in groups.items()}


def _least(probabilities: Array, config: SelectConfig, held_out: HeldOut | None) -> float:
    """The least probability that a rule with a promise keeps."""
    if config.rule == "precision":
        return least_for_precision(probabilities, config.precision)
    if config.rule == "max_error":
        assert held_out is not None
        return least_for_error(probabilities, held_out.probabilities, held_out.right, config.max_error)
    return 0.0


def _score(agreement: float, h: float | None, probability: float | None, config: SelectConfig) -> float:
    """What is compared with τ; lower is surer."""
    if _by_probability(config):
        return math.inf if probability is None else 1 - probability
    if config.criterion == "agreement":
        return 1 - agreement
    return h if h is not None and _known(h) else math.inf


def _known(h: float | None) -> bool:
    """Whether it is a mean of negative log-probabilities; tables of earlier versions may hold other numbers."""
    return h is not None and possible(-h)


def decide(table: pa.Table, config: SelectConfig, taus: Thresholds) -> list[tuple[bool, str]]:
    """For each row, whether it is kept and why (Eq. 8)."""
    return [_decide(_Final(*values), config, taus) for values in _values(table, *_Final._fields)]


class _Final(NamedTuple):
    """What the fate of a row hangs on, see `FinalAnswer`."""

    answer: str | None
    response: str | None
    origin: str
    agreement: float
    mean_nll: float | None
    h_from: str | None
    probability: float | None


def _decide(row: _Final, config: SelectConfig, taus: Thresholds) -> tuple[bool, str]:
    h, agreement = row.mean_nll, row.agreement
    if row.answer is None:
        return False, "no answer"
    if row.response is None:
        return False, "every response with this answer was cut"
    if not config.enabled:
        return True, "selection is off"
    if agreement < config.min_agreement:
        return False, f"agreement {agreement:.2f} is below {config.min_agreement:.2f}"
    if not _filtered(row.origin, config):
        return True, "unanimous"
    tau = taus[_group(row.answer, config)]
    if _by_probability(config):
        if row.probability is None:
            return False, "probability unknown"
        if config.rule == "weights":
            return True, f"weighs {row.probability:.4f}"
        kept = 1 - row.probability <= tau
        return kept, f"probability {row.probability:.4f} {'>=' if kept else '<'} {1 - tau:.4f}"
    if config.criterion == "agreement":
        kept = 1 - agreement <= tau
        return kept, f"agreement {agreement:.2f} {'>=' if kept else '<'} {1 - tau:.2f}"
    if h is None or not _known(h):
        return False, f"H {row.h_from if h is None and row.h_from else 'unknown'}"
    return h <= tau, f"H {h:.6g} {'<=' if h <= tau else '>'} tau {tau:.6g}"


def _values(table: pa.Table, *columns: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)


def _filtered(origin: str, config: SelectConfig) -> bool:
    return config.scope == "all" or origin != "unanimous"


def _group(answer: str, config: SelectConfig) -> str:
    return answer if config.per_answer and config.rule == "theta" else ""


def _by_probability(config: SelectConfig) -> bool:
    return config.rule != "theta" or config.criterion == "probability"


def weights(table: pa.Table, kept: Sequence[bool], config: SelectConfig) -> list[float]:
    """How much each row counts in the training: by a rule with a promise its probability, else 1; 0 if not kept."""
    promised = config.enabled and config.rule != "theta"
    probabilities = table["probability"].to_pylist()
    return [
        float((probability or 0.0) if promised else 1.0) if is_kept else 0.0
        for probability, is_kept in zip(probabilities, kept, strict=True)
    ]


def _promised(
    kept: Sequence[float], config: SelectConfig, taus: Thresholds, held_out: HeldOut | None
) -> dict[str, Promise]:
    """How many of the kept rows are right: what is expected, an interval, a bound; nothing without probabilities.

    Args:
        kept: their probabilities.
    """
    if held_out is None or (config.enabled and not _by_probability(config)):
        return {}
    verdicts = [
        right
        for answer, probability, right in zip(*held_out, strict=True)
        if not config.enabled or 1 - probability <= taus.get(_group(answer, config), -math.inf)
    ]
    promise = estimate(np.asarray(kept), verdicts)
    return {} if promise is None else {"promise": promise}


def _tau_summary(taus: Thresholds, config: SelectConfig) -> float | Thresholds | None:
    """τ as `status` and the report show it: one number, or one for each answer."""
    if not config.enabled:
        return None
    return taus if config.per_answer else taus.get("")
