"""Selection against thresholds worked out by hand."""

import math
from typing import Any

import pyarrow as pa
import pytest

from semievol.config import SelectConfig
from semievol.errors import BackendError
from semievol.records import Response
from semievol.stages.select import decide, threshold, thresholds

COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("answer", pa.string()),
        ("response", pa.string()),
        ("origin", pa.string()),
        ("agreement", pa.float64()),
        ("mean_nll", pa.float64()),
        ("h_from", pa.string()),
        ("probability", pa.float64()),
    ]
)


def row(h: float | None, answer: str | None = "a", origin: str = "unanimous", agreement: float = 1.0) -> dict[str, Any]:
    return {
        "id": "x",
        "answer": answer,
        "response": answer,
        "origin": origin,
        "agreement": agreement,
        "mean_nll": h,
    }


def decided(rows: list[dict[str, Any]], **options: Any) -> list[tuple[bool, str]]:
    config = SelectConfig(**options)
    parts = [pa.Table.from_pylist(rows[at : at + 2], schema=COLUMNS) for at in range(0, len(rows), 2)]
    taus = thresholds(parts, config)
    return [each for part in parts for each in decide(part, config, taus)]


def kept(rows: list[dict[str, Any]], **options: Any) -> list[bool]:
    return [decision for decision, _ in decided(rows, **options)]


def test_h_is_the_mean_negative_log_likelihood_per_token() -> None:
    response = Response("r", "two tokens", logprobs=(-0.5, -1.5), finish="stop", prompt_tokens=3, completion_tokens=2)
    assert response.mean_nll == 1.0


@pytest.mark.parametrize("logprobs", [None, ()])
def test_h_without_tokens_or_log_probabilities_is_unknown(logprobs: tuple[float, ...] | None) -> None:
    assert Response("r", "", logprobs, "stop", 3, 0).mean_nll is None


def test_tau_is_the_interpolated_percentile_of_h() -> None:
    assert threshold([0.1, 0.2, 0.3, 0.4], 0.5) == pytest.approx(0.25)
    assert threshold([0.4, 0.1, 0.3, 0.2, 0.9], 0.5) == pytest.approx(0.3)
    assert threshold([0.1, 0.2, 0.3, 0.4], 0.3) == pytest.approx(0.19)
    assert threshold([0.1, 0.2], 1.0) == pytest.approx(0.2)


def test_rows_at_or_below_tau_are_kept() -> None:
    rows = [row(0.4), row(0.1), row(0.3), row(0.2), row(0.9)]
    assert kept(rows, theta=0.5) == [False, True, True, True, False]


def test_rows_that_are_equally_sure_are_kept_together() -> None:
    assert kept([row(0.0), row(0.0), row(0.0), row(0.5)], theta=0.3) == [True, True, True, False]


def test_rows_without_an_answer_are_dropped_and_do_not_move_tau() -> None:
    rows = [row(0.1), row(0.3), row(None, answer=None, origin="none")]
    assert decided(rows, theta=0.5) == [
        (True, "H 0.1 <= tau 0.2"),
        (False, "H 0.3 > tau 0.2"),
        (False, "no answer"),
    ]


def test_theta_1_keeps_every_answer() -> None:
    assert kept([row(3.0), row(0.1), row(None, answer=None)], theta=1.0) == [True, True, False]


def test_switched_off_selection_keeps_every_answer_and_needs_no_h() -> None:
    assert kept([row(None), row(5.0), row(None, answer=None)], enabled=False) == [True, True, False]


def test_the_released_recipe_keeps_unanimous_rows_whatever_their_h() -> None:
    rows = [row(9.0), row(0.1, origin="justified"), row(0.2, origin="justified"), row(0.4, origin="justified")]
    assert kept(rows, scope="justified", theta=0.3) == [True, True, False, False]


def test_one_tau_for_each_answer_keeps_the_hard_class() -> None:
    easy, hard = [row(h, "easy") for h in (0.01, 0.02, 0.03, 0.04)], [row(h, "hard") for h in (0.5, 0.6)]
    assert kept(easy + hard, theta=0.5) == [True, True, True, False, False, False]
    assert kept(easy + hard, theta=0.5, per_answer=True) == [True, True, False, False, True, False]


def test_rows_on_which_too_few_agreed_are_dropped_with_the_reason() -> None:
    rows = [row(0.1, agreement=0.5), row(0.1, agreement=0.75)]
    assert decided(rows, theta=1.0, min_agreement=0.75) == [
        (False, "agreement 0.50 is below 0.75"),
        (True, "H 0.1 <= tau 0.1"),
    ]


def test_an_engine_without_log_probabilities_is_refused() -> None:
    with pytest.raises(BackendError, match=r"select needs log-probabilities and the engine gave none; .*agreement"):
        decided([row(None), row(None)], criterion="nll")


def test_an_unknown_h_is_never_kept_and_theta_stays_the_share_of_all_answered_rows() -> None:
    unknown = {**row(None), "h_from": "unknown: the request failed: 500"}
    assert decided([row(0.1), row(0.2), row(0.3), unknown, unknown], theta=0.5) == [
        (True, "H 0.1 <= tau 0.3"),
        (True, "H 0.2 <= tau 0.3"),
        (True, "H 0.3 <= tau 0.3"),
        (False, "H unknown: the request failed: 500"),
        (False, "H unknown: the request failed: 500"),
    ]
    assert kept([row(0.1), row(0.2), row(0.3), unknown, unknown], theta=0.25) == [True, True, False, False, False]


@pytest.mark.parametrize("theta", [0.1, 0.5, 0.75, 0.9, 1.0])
def test_rows_whose_h_is_known_are_all_kept_where_theta_reaches_the_unknown_ones(theta: float) -> None:
    rows = [row(0.4), row(None), row(None), row(None)]
    assert kept(rows, theta=theta) == [True, False, False, False]


def test_rows_can_be_kept_by_agreement_and_ties_are_kept() -> None:
    rows = [row(None, agreement=share) for share in (1.0, 0.5, 0.75, 0.75, 0.25)]
    assert decided(rows, criterion="agreement", theta=0.5) == [
        (True, "agreement 1.00 >= 0.75"),
        (False, "agreement 0.50 < 0.75"),
        (True, "agreement 0.75 >= 0.75"),
        (True, "agreement 0.75 >= 0.75"),
        (False, "agreement 0.25 < 0.75"),
    ]


def test_agreement_has_one_tau_for_each_answer_where_that_is_asked_for() -> None:
    easy = [row(None, "easy", agreement=share) for share in (1.0, 1.0, 0.75)]
    hard = [row(None, "hard", agreement=share) for share in (0.5, 0.5, 0.25)]
    assert kept(easy + hard, criterion="agreement", theta=0.4) == [True, True, True, False, False, False]
    assert kept(easy + hard, criterion="agreement", theta=0.5, per_answer=True) == [True, True, False] * 2


def test_no_rows_are_no_error() -> None:
    assert decided([]) == []


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 0.5])
def test_what_is_no_log_probability_makes_h_unknown_whatever_engine_said_it(wrong: float) -> None:
    response = Response("r", "two tokens", (-0.5, wrong), "stop", 3, 2)
    assert response.logprobs is None
    assert response.mean_nll is None


def test_rounding_above_certainty_is_certainty() -> None:
    assert Response("r", "sure", (1e-6, -1e-6), "stop", 3, 2).mean_nll == 0.0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -0.5])
def test_a_row_whose_h_is_no_h_is_dropped_and_the_others_are_selected_as_without_it(wrong: float) -> None:
    rows = [row(0.4), row(0.1), row(wrong), row(0.3)]
    unknown = [row(0.4), row(0.1), row(None), row(0.3)]
    assert decided(rows, theta=0.5) == decided(unknown, theta=0.5)
    assert sum(kept(rows, theta=0.5)) == 2
    with pytest.raises(BackendError, match="needs log-probabilities"):
        decided([row(wrong), row(wrong)], criterion="nll")


def test_a_row_whose_responses_were_all_cut_is_dropped_with_its_reason_and_does_not_move_tau() -> None:
    rows = [row(0.1), row(0.2), row(0.3)]
    cut = {**row(None), "response": None}
    found = decided([*rows, cut, cut], theta=0.5)
    assert found[3:] == [(False, "every response with this answer was cut")] * 2
    assert [each for each, _ in found[:3]] == [each for each, _ in decided(rows, theta=0.5)]
    assert decided([cut], enabled=False) == [(False, "every response with this answer was cut")]
