"""How disagreements are settled."""

from typing import Any

import pytest

from samples import topics_config
from semievol.config import TaskConfig
from semievol.pipeline import run
from semievol.records import Candidate, Example
from semievol.run_folder.folder import RunFolder
from semievol.stages.justify import agreement, distinct
from semievol.tasks import Task, open_task

WARM = [{"weights": "warm"}] * 4


def task() -> Task:
    return open_task(TaskConfig(labels=("red", "green", "blue")), [])


def candidates(*answers: str | None) -> list[Candidate]:
    return [Candidate(f"c{i}", str(a), a, 0.1, ()) for i, a in enumerate(answers)]


def settled(tmp_path: Any, **sections: Any) -> list[dict[str, Any]]:
    config = topics_config(tmp_path, **{"collaborate": {"collaborators": WARM}, **sections})
    run(config, until="justify")
    return list(RunFolder(config.output).stage("justify").shards.rows())


def test_agreement_is_the_share_of_collaborators_with_the_answer() -> None:
    four = candidates("red", "red", "green", None)
    assert agreement(task(), "red", four) == 0.5
    assert agreement(task(), "green", four) == 0.25
    assert agreement(task(), "blue", four) == 0.0
    assert agreement(task(), None, four) == 0.0


def test_numbers_within_the_tolerance_agree() -> None:
    number = open_task(TaskConfig(kind="number"), [Example("1", "?", "3")])
    assert agreement(number, "100", candidates("100", "100.5", "102")) == pytest.approx(2 / 3)


def test_different_answers_are_listed_once_in_the_collaborators_order() -> None:
    found = distinct(task(), candidates("green", "red", None, "green"))
    assert [candidate.collaborator for candidate in found] == ["c0", "c1"]


def test_unanimous_rows_stand_and_the_others_are_asked_again(tmp_path: Any) -> None:
    rows = settled(tmp_path)
    by_origin = {origin: [row for row in rows if row["origin"] == origin] for origin in ("unanimous", "justified")}
    assert len(by_origin["unanimous"]) + len(by_origin["justified"]) == 40
    assert all(row["agreement"] == 1.0 and row["justification"] is None for row in by_origin["unanimous"])
    assert all(row["justification"] and row["agreement"] < 1.0 for row in by_origin["justified"])
    assert by_origin["unanimous"]
    assert by_origin["justified"]


def test_every_row_can_be_asked_again(tmp_path: Any) -> None:
    assert {row["origin"] for row in settled(tmp_path, justify={"mode": "all"})} == {"justified"}


def test_a_majority_vote_asks_nobody(tmp_path: Any) -> None:
    rows = settled(tmp_path, justify={"mode": "majority"})
    assert {row["origin"] for row in rows} == {"unanimous", "majority"}
    assert all(row["justification"] is None for row in rows)
    for row in rows:
        votes = [candidate["answer"] for candidate in row["candidates"]]
        assert votes.count(row["answer"]) == max(votes.count(vote) for vote in votes)


def test_a_single_collaborator_has_nobody_to_disagree_with(tmp_path: Any) -> None:
    assert {row["origin"] for row in settled(tmp_path, collaborate={"enabled": False})} == {"single"}


def test_a_row_that_nobody_answered_has_no_pseudo_label(tmp_path: Any) -> None:
    crew = [{"weights": "base"}, {"weights": "base"}]  # the untrained fake model repeats a word of the prompt
    rows = settled(tmp_path, collaborate={"collaborators": crew}, task={"instruction": "Which topic?"})
    assert {row["origin"] for row in rows} == {"none"}
    assert all(row["answer"] is None and row["mean_nll"] is None for row in rows)


def test_h_is_scored_under_the_warm_model_on_the_plain_prompt(tmp_path: Any) -> None:
    crew = [{"weights": "warm"}, {"weights": "warm", "examples": 3}]
    rows = settled(tmp_path, collaborate={"collaborators": crew, "temperature": 0})
    plain = [row for row in rows if row["candidates"][0]["answer"] == row["answer"]]
    assert plain
    assert all(row["mean_nll"] == row["candidates"][0]["mean_nll"] for row in plain)
    assert any(row["mean_nll"] != row["candidates"][1]["mean_nll"] for row in plain)
