"""Answers of a closed set that are scored: each by its share, labeled rows by models that have not seen them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import failing
from samples import TOPICS, topics_config, write_topics
from semievol.config import Config
from semievol.errors import ConfigError, GateError
from semievol.pipeline import run
from semievol.records import Request, Response
from semievol.run_folder.parquet import read_rows
from semievol.stages.scoring import LEAST, _log_shares
from watched import SAYS, WATCHED


def config(folder: Path, **sections: Any) -> Config:
    """A run whose answers are scored, by a crew with two folds."""
    if not (folder / "labeled.csv").exists():
        write_topics(folder / "labeled.csv", 40, seed=1)
    scored = {"how": "score", "gate": False, "collaborators": [{"weights": "warm"}]}
    collaborate = {**scored, **sections.pop("collaborate", {})}
    options: dict[str, Any] = {"backend": WATCHED, "warmup": {"folds": 2}, "collaborate": collaborate, **sections}
    return topics_config(folder, **options)


def labeled_rows(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "run/collaborate/labeled/part-00000.parquet")


def test_shares_of_three_responses_by_hand() -> None:
    shares = np.exp(_log_shares([math.log(0.3), math.log(0.1), math.log(0.2)], ["yes", "no", "maybe"]))
    assert shares == pytest.approx([0.5, 1 / 6, 1 / 3])


def test_what_a_longer_response_has_is_taken_from_the_one_that_begins_it() -> None:
    logs = [math.log(0.6), math.log(0.5), math.log(0.2), math.log(0.1)]
    shares = np.exp(_log_shares(logs, ["science", "science fiction", "science fiction film", "sport"]))
    assert shares == pytest.approx(np.array([0.1, 0.3, 0.2, 0.1]) / 0.7)


def test_a_response_that_begins_another_keeps_a_little_if_rounding_takes_all() -> None:
    shares = np.exp(_log_shares([math.log(0.2), math.log(0.2)], ["no", "no idea"]))
    assert shares[0] == pytest.approx(LEAST, rel=0.01)


def test_every_answer_of_every_row_is_scored_once_by_each_member(tmp_path: Path, asked: list[Request]) -> None:
    run(config(tmp_path), until="collaborate")
    unlabeled = [request for request in asked if request.id.startswith("unlabeled-")]
    assert {request.weights for request in unlabeled} == {"warm", "fold-1", "fold-2"}
    assert len({request.id for request in unlabeled}) == len(unlabeled) == 40 * 3 * 3
    assert {request.response for request in unlabeled} == {"weather", "sport", "money"}


def test_a_labeled_row_is_scored_by_the_model_that_has_not_seen_it(tmp_path: Path, asked: list[Request]) -> None:
    run(config(tmp_path), until="collaborate")
    seen = {}
    for part in ("fold-1", "fold-2"):
        votes = json.loads((tmp_path / f"run/warmup/{part}/adapter/votes.json").read_text())
        seen[part] = {word for word in votes if word.startswith("item")}
    labeled = [request for request in asked if request.id.startswith("labeled-")]
    assert len(labeled) == 40 * 3
    for request in labeled:
        (own,) = [word for word in request.messages[-1]["content"].split() if word.startswith("item")]
        assert own not in seen[request.weights]


def test_the_committees_share_is_the_geometric_mean_of_its_members(tmp_path: Path) -> None:
    says = {"warm": 0.5, "fold-1": 0.8, "fold-2": 0.2}

    def share(request: Request, response: Response) -> Response:
        if not request.id.startswith("unlabeled-"):
            return response
        p = says[request.weights] if request.response == "sport" else (1 - says[request.weights]) / 2
        return Response(response.id, response.text, (math.log(p),), "scored", 1, 1)

    SAYS.append(share)
    run(config(tmp_path), until="collaborate")
    SAYS.clear()
    (row, *_) = read_rows(tmp_path / "run/collaborate/part-00000.parquet")
    sport = math.exp(np.mean(np.log([0.5, 0.8, 0.2])))
    other = math.exp(np.mean(np.log([0.25, 0.1, 0.4])))
    shares = dict(zip(("weather", "sport", "money"), row["probabilities"][0], strict=False))
    assert sorted(shares.values())[-1] == pytest.approx(sport / (sport + 2 * other))
    assert row["candidates"][0]["answer"] == "sport"
    assert row["candidates"][0]["mean_nll"] == pytest.approx(-math.log(0.5))  # H is M_warm's own


def test_a_labeled_row_is_not_among_the_examples_that_it_is_shown(tmp_path: Path, asked: list[Request]) -> None:
    run(config(tmp_path, collaborate={"collaborators": [{"weights": "warm", "examples": 2}]}), until="collaborate")
    for row in labeled_rows(tmp_path):
        assert len(row["candidates"][0]["references"]) == 2
        assert row["id"] not in row["candidates"][0]["references"]


def test_models_at_chance_end_the_run_before_an_unlabeled_row_is_asked(tmp_path: Path, asked: list[Request]) -> None:
    def unknowing(request: Request, response: Response) -> Response:
        return Response(response.id, response.text, (math.log(0.1),), "scored", 1, 1)

    SAYS.append(unknowing)
    with pytest.raises(GateError, match=r"told \d+ of 40 labeled rows right .* collaborate.gate: false"):
        run(config(tmp_path, collaborate={"gate": True}))
    SAYS.clear()
    assert not [request for request in asked if request.id.startswith("unlabeled-")]
    run(config(tmp_path, collaborate={"gate": False}), until="collaborate")
    assert [request for request in asked if request.id.startswith("unlabeled-")]


def test_models_that_know_the_task_pass_the_gate(tmp_path: Path) -> None:
    def knowing(request: Request, response: Response) -> Response:
        words = request.messages[-1]["content"].split()
        p = 0.9 if sum(word in TOPICS.get(request.response or "", []) for word in words) == 3 else 0.05
        return Response(response.id, response.text, (math.log(p),), "scored", 1, 1)

    SAYS.append(knowing)
    run(config(tmp_path, collaborate={"gate": True}), until="collaborate")
    SAYS.clear()
    assert (tmp_path / "run/collaborate/done.json").exists()


def test_requests_that_failed_are_asked_again_and_the_rest_is_not(tmp_path: Path) -> None:
    settings = config(tmp_path, backend={"kind": "failing:FailingBackend"}, justify={"mode": "pool", "views": []})
    failing.FAILING["unlabeled-3/warm+0/fold-1/0"] = False
    run(settings)
    row = next(r for r in read_rows(tmp_path / "run/collaborate/part-00000.parquet") if r["id"] == "unlabeled-3")
    assert row["probabilities"][0] != []  # the other two members have answered
    failing.FAILING.clear()
    failing.ASKED.clear()
    run(settings)
    assert failing.ASKED["unlabeled-3/warm+0/fold-1/0"] == 1
    assert not [id_ for id_ in failing.ASKED if id_.startswith("unlabeled-4/")]
    whole = topics_config(tmp_path, **{"output": str(tmp_path / "whole")})
    assert whole.output != settings.output
    run(settings.model_copy(update={"output": str(tmp_path / "whole")}))
    for part in ("collaborate/part-00000", "justify/part-00000", "select/pseudo_labels"):
        first, second = (read_rows(tmp_path / name / f"{part}.parquet") for name in ("run", "whole"))
        assert [(a, b) for a, b in zip(first, second, strict=True) if a != b] == []


def test_a_row_none_of_whose_requests_is_answered_has_no_answer(tmp_path: Path) -> None:
    for member in ("warm", "fold-1", "fold-2"):
        failing.FAILING[f"unlabeled-3/warm+0/{member}/0"] = True
    backend = {"kind": "failing:FailingBackend"}
    run(config(tmp_path, backend=backend, justify={"mode": "pool", "views": []}, select={"rule": "weights"}))
    failing.FAILING.clear()
    row = next(r for r in read_rows(tmp_path / "run/select/pseudo_labels.parquet") if r["id"] == "unlabeled-3")
    assert (row["answer"], row["kept"], row["reason"], row["weight"]) == (None, False, "no answer", 0.0)


def test_a_multiple_choice_row_is_scored_for_its_own_letters(tmp_path: Path, asked: list[Request]) -> None:
    lines = ["text,topic,choices\n"]
    for number in range(8):
        options = '[""one"", ""two"", ""three""]' if number % 3 == 0 else '[""one"", ""two""]'
        lines.append(f'"what {number}",{"AB"[number % 2]},"{options}"\n')
    for name in ("labeled", "unlabeled", "test"):
        (tmp_path / f"{name}.csv").write_text("".join(line.replace("what", f"{name} what") for line in lines))
    sections: dict[str, Any] = {
        "task": {"kind": "multiple_choice"},
        "justify": {"mode": "pool"},
        "select": {"rule": "weights"},
    }
    columns = {"prompt": "text", "answer": "topic", "options": "choices"}
    run(config(tmp_path, data={"columns": columns}, **sections))
    of_three = [request.response for request in asked if request.id.startswith("unlabeled-0/")]
    of_two = [request.response for request in asked if request.id.startswith("unlabeled-1/")]
    assert sorted(set(map(str, of_three))) == ["A", "B", "C"]
    assert sorted(set(map(str, of_two))) == ["A", "B"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"collaborate": {"how": "sample"}}, "warmup.folds needs collaborate.how: score"),
        ({"rounds": 2}, "set rounds to 1"),
        ({"warmup": {"folds": 0}, "justify": {"mode": "pool"}}, "warmup.folds of at least 2"),
        ({"select": {"rule": "precision"}}, "only justify.mode: pool"),
        ({"select": {"criterion": "probability"}}, "only justify.mode: pool"),
    ],
)
def test_options_that_need_each_other_are_refused_alone(tmp_path: Path, sections: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **sections)


def test_a_labeled_row_that_is_answered_later_changes_the_pool_and_all_it_has_settled(tmp_path: Path) -> None:
    pooled = {"justify": {"mode": "pool", "views": []}, "select": {"rule": "weights"}}
    settings = config(tmp_path, backend={"kind": "failing:FailingBackend"}, **pooled)
    for number in range(0, 40, 2):
        for part in ("fold-1", "fold-2"):
            failing.FAILING[f"labeled-{number}/warm+0/{part}/0"] = False
    run(settings)
    before = (tmp_path / "run/justify/pool.json").read_bytes()
    failing.FAILING.clear()
    run(settings)
    run(settings.model_copy(update={"output": str(tmp_path / "whole")}))
    assert (tmp_path / "run/justify/pool.json").read_bytes() != before
    for place in ("justify/pool.json", "justify/out_of_fold.parquet", "select/pseudo_labels.parquet"):
        assert (tmp_path / "run" / place).read_bytes() == (tmp_path / "whole" / place).read_bytes()
