"""Adaptive selection (Eq. 6-8): rows whose H is at most the θ-th percentile are kept."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from semievol.config import SelectConfig
from semievol.errors import BackendError
from semievol.run_dir import StageDir, read_rows, write_rows
from semievol.stages.context import Round
from semievol.stages.justify import SCHEMA as JUSTIFIED

SCHEMA = pa.schema([*JUSTIFIED, ("kept", pa.bool_()), ("reason", pa.string()), ("round", pa.int64())])

Row = dict[str, Any]


def select(round_: Round, justified: StageDir) -> StageDir:
    """The stage folder with every unlabeled row, kept or not, and the reason."""
    stage = round_.stage("select")
    section = round_.config.select
    if stage.begin(round_.key("select", justify=justified.digest, select=section.model_dump(mode="json"))):
        rows = list(justified.rows())
        decisions = decide(rows, section)
        for row, (kept, reason) in zip(rows, decisions, strict=True):
            row.update(kept=kept, reason=reason, round=round_.number)
        write_rows(stage.rows_path, rows, SCHEMA)
        answers = sorted({row["answer"] for row in rows if row["answer"] is not None})
        kept_rows = [row for row in rows if row["kept"]]
        stage.finish(
            {
                "rows": len(rows),
                "kept": len(kept_rows),
                "tau": _tau_summary(rows, section),
                # Few answers are classes, and their balance tells; many are free text.
                "kept_by_answer": {a: sum(r["answer"] == a for r in kept_rows) for a in answers}
                if len(answers) <= 50
                else {},
            }
        )
    return stage


def selected(stage: StageDir) -> list[Row]:
    """The rows that a finished selection kept."""
    return [row for row in read_rows(stage.rows_path) if row["kept"]]


def threshold(mean_nlls: Sequence[float], theta: float) -> float:
    """τ: the θ-quantile of H in nats per token, linearly interpolated (Eq. 7); -inf over no rows."""
    return float(np.quantile(np.asarray(mean_nlls), theta)) if len(mean_nlls) else float("-inf")


def decide(rows: Sequence[Mapping[str, Any]], config: SelectConfig) -> list[tuple[bool, str]]:
    """For each row, whether it is kept and why (Eq. 8).

    Raises:
        BackendError: a row has an answer and no H, because the engine gives no log-probabilities.
    """
    limits = _limits(rows, config) if config.enabled else {}
    return [_decide(row, config, limits) for row in rows]


def _decide(row: Mapping[str, Any], config: SelectConfig, limits: Mapping[str, float]) -> tuple[bool, str]:
    if row["answer"] is None:
        return False, "no answer"
    if not config.enabled:
        return True, "selection is off"
    if row["agreement"] < config.min_agreement:
        return False, f"agreement {row['agreement']:.2f} is below {config.min_agreement:.2f}"
    if not _filtered(row, config):
        return True, "unanimous"
    h, tau = row["mean_nll"], limits[_group(row, config)]
    sign = "<=" if h <= tau else ">"
    return h <= tau, f"H {h:.6g} {sign} tau {tau:.6g}"


def _limits(rows: Iterable[Mapping[str, Any]], config: SelectConfig) -> dict[str, float]:
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["answer"] is None or not _filtered(row, config):
            continue
        if row["mean_nll"] is None:
            raise BackendError(
                f"select needs log-probabilities and the engine gave none for row {row['id']}; "
                "use another backend or set select.enabled to false"
            )
        groups[_group(row, config)].append(row["mean_nll"])
    return {group: threshold(values, config.theta) for group, values in groups.items()}


def _filtered(row: Mapping[str, Any], config: SelectConfig) -> bool:
    return config.scope == "all" or row["origin"] != "unanimous"


def _group(row: Mapping[str, Any], config: SelectConfig) -> str:
    return row["answer"] if config.per_answer else ""


def _tau_summary(rows: Sequence[Mapping[str, Any]], config: SelectConfig) -> float | dict[str, float] | None:
    """τ as `status` and the report show it: one number, or one for each answer."""
    if not config.enabled:
        return None
    limits = _limits(rows, config)
    return limits if config.per_answer else limits.get("")
