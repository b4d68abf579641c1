"""Answers that are drawn, of an open set, with the probability that they are right."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import failing
from samples import run_results, topics_config, write_topics
from semievol.config import Config
from semievol.errors import ConfigError, GateError
from semievol.pipeline import run
from semievol.records import Example, Request, Response
from semievol.run_folder.parquet import read_rows
from semievol.stages.calibrating import LEAST_H, evidence
from semievol.tasks import open_task
from semievol.trust.estimates import quality
from watched import SAYS, WATCHED


def config(folder: Path, **sections: Any) -> Config:
    """The trusted preset for answers of an open set, on the fake engine."""
    if not (folder / "labeled.csv").exists():
        write_topics(folder / "labeled.csv", 60, seed=1)
        write_topics(folder / "unlabeled.csv", 120, seed=2)
    options: dict[str, Any] = {"preset": "trusted", "task": {"kind": "free_text"}, "collaborate": {"gate": False}}
    for section, values in sections.items():
        old = options.get(section)
        options[section] = {**old, **values} if isinstance(old, dict) else values
    return topics_config(folder, **options)


def pseudo_labels(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "run/select/pseudo_labels.parquet")


def test_every_pseudo_label_has_a_probability_that_is_as_high_as_it_should_be(tmp_path: Path) -> None:
    run(config(tmp_path, backend={"fake_noise": 0.3}, evaluate={"unlabeled_answers": "topic"}))
    rows = pseudo_labels(tmp_path)
    assert all(row["weight"] == row["probability"] for row in rows if row["kept"])
    figures = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())["pseudo_labels"]
    promise = json.loads((tmp_path / "run/select/done.json").read_text())["promise"]
    assert promise["low"] <= figures["kept"]["accuracy"] <= promise["high"]
    assert figures["probability"]["auroc"] > 0.7
    assert figures["probability"]["calibration_error"] < 0.15


def test_what_is_learned_and_what_it_is_worth_out_of_fold_is_kept(tmp_path: Path) -> None:
    run(config(tmp_path), until="justify")
    kept = json.loads((tmp_path / "run/justify/calibration.json").read_text())
    known = read_rows(tmp_path / "run/justify/out_of_fold.parquet")
    assert kept["evidence"] == ["agreement", "H"]
    assert kept["out_of_fold"] == quality(np.array([r["probability"] for r in known]), [r["right"] for r in known])


def test_a_labeled_row_is_answered_justified_and_scored_by_what_has_not_seen_it(
    tmp_path: Path, asked: list[Request]
) -> None:
    run(config(tmp_path, backend=WATCHED), until="justify")
    of_labeled = [request for request in asked if request.id.startswith("labeled-")]
    warm = {r.weights for r in of_labeled if "/base+" not in r.id}
    assert warm == {"fold-1", "fold-2", "fold-3", "fold-4"}
    assert {r.weights for r in of_labeled if "/base+" in r.id} == {"base"}
    per_row: dict[str, set[str]] = {}
    for request in of_labeled:
        if request.weights != "base":
            per_row.setdefault(request.id.split("/")[0], set()).add(request.weights)
    assert all(len(models) == 1 for models in per_row.values())
    assert {kind.split("/")[1] for kind in (r.id for r in of_labeled)} >= {"justify", "score"}
    votes = {f"fold-{n}": (tmp_path / f"run/warmup/fold-{n}/adapter/votes.json").read_text() for n in range(1, 5)}
    lines = (tmp_path / "labeled.csv").read_text().splitlines()[1:]
    for row, models in per_row.items():
        mark = lines[int(row.partition("-")[2])].partition(",")[0].split()[-1]  # a word that no other row has
        assert f'"{mark}"' not in votes[next(iter(models))]
    assert not [r for r in asked if r.id.startswith("unlabeled-") and r.weights.startswith("fold-")]


def test_without_a_warm_up_the_base_model_is_calibrated_and_sees_no_row_among_its_examples(
    tmp_path: Path, asked: list[Request]
) -> None:
    options: dict[str, Any] = {"warmup": {"enabled": False, "folds": 0}, "backend": WATCHED}
    crew = [{"weights": "base", "examples": 0}, {"weights": "base", "examples": 2}]
    run(config(tmp_path, collaborate={"collaborators": crew}, **options), until="select")
    lines = (tmp_path / "labeled.csv").read_text().splitlines()[1:]
    shown = [request for request in asked if request.id.startswith("labeled-") and "/base+2" in request.id]
    assert len(shown) == 60
    for request in shown:
        prompt = lines[int(request.id.split("/")[0].partition("-")[2])].rpartition(",")[0]
        assert sum(prompt in message["content"] for message in request.messages) == 1
    assert "promise" in json.loads((tmp_path / "run/select/done.json").read_text())


def test_views_speak_for_answers_that_are_one_closed_set(tmp_path: Path, asked: list[Request]) -> None:
    def unknowing(request: Request, response: Response) -> Response:
        answer = request.response or ["weather", "sport", "money"][len(asked) % 3]
        return Response(response.id, answer, (-1.0,), "stop", 1, 1)

    SAYS.append(unknowing)
    trusted = {"warmup": {"folds": 4}, "justify": {"calibrate": True, "views": ["word_view:WordView"]}}
    options: dict[str, Any] = {"preset": "paper", "task": {"kind": "label"}, "select": {"rule": "weights"}, **trusted}
    run(config(tmp_path, backend=WATCHED, evaluate={"unlabeled_answers": "topic"}, **options))
    figures = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())["pseudo_labels"]
    assert figures["probability"]["auroc"] > 0.9 > 0.6 > figures["auroc_of_h"]


def test_calibrating_answers_that_are_there_asks_for_the_labeled_rows_alone(
    tmp_path: Path, asked: list[Request]
) -> None:
    plain: dict[str, Any] = {"warmup": {"folds": 0}, "justify": {"calibrate": False}, "select": {"rule": "theta"}}
    run(config(tmp_path, backend=WATCHED, **plain), until="collaborate")
    asked.clear()
    run(config(tmp_path, backend=WATCHED), until="collaborate")
    assert asked
    assert all(request.id.startswith("labeled-") for request in asked)


def test_answers_no_better_than_chance_end_the_run_before_an_unlabeled_row_is_asked(
    tmp_path: Path, asked: list[Request]
) -> None:
    SAYS.append(lambda request, response: Response(response.id, "snow", (-1.0,), "stop", 1, 1))
    with pytest.raises(GateError, match="told 0 of 60 labeled rows right"):
        run(config(tmp_path, backend=WATCHED, collaborate={"gate": True}))
    assert not [request for request in asked if request.id.startswith("unlabeled-")]


@pytest.mark.parametrize("at", ["labeled-7/base+1", "labeled-59/score", "unlabeled-3/base+1", "unlabeled-90/score"])
def test_a_run_that_is_broken_off_goes_on_to_the_same_bytes(tmp_path: Path, at: str) -> None:
    crew = [{"weights": "base", "examples": 1}, {"weights": "warm", "examples": 1}]
    settings = config(tmp_path, backend={"kind": "failing:FailingBackend"}, collaborate={"collaborators": crew})
    failing.ASKED.clear()
    run(settings.model_copy(update={"output": str(tmp_path / "whole")}))
    assert failing.ASKED[at]
    failing.ASKED.clear()
    failing.BREAKING.add(at)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    run(settings)
    assert max(failing.ASKED.values()) == 1  # nothing is asked twice
    assert run_results(tmp_path / "run") == run_results(tmp_path / "whole")


def test_labeled_rows_that_failed_are_asked_again_and_change_all_probabilities(tmp_path: Path) -> None:
    settings = config(tmp_path, backend={"kind": "failing:FailingBackend"})
    run(settings.model_copy(update={"output": str(tmp_path / "whole")}), until="select")
    failing.FAILING.update({id_: False for id_ in failing.ASKED if id_.startswith(("labeled-3", "labeled-4/"))})
    run(settings, until="select")
    assert run_results(tmp_path / "run") != run_results(tmp_path / "whole")
    failing.FAILING.clear()
    run(settings, until="select")
    assert run_results(tmp_path / "run") == run_results(tmp_path / "whole")


@pytest.mark.parametrize(
    "sections",
    [
        {"task": {"kind": "number"}},
        {
            "task": {"kind": "label"},
            "backend": {"kind": "openai"},
            "model": {"name": "some-model"},
            "training": {"kind": "hosted"},
        },
    ],
)
def test_the_preset_draws_answers_that_it_cannot_score(tmp_path: Path, sections: Any) -> None:
    made = config(tmp_path, **sections)
    assert (made.collaborate.how, made.justify.calibrate, made.select.rule) == ("sample", True, "weights")
    scored = config(tmp_path, task={"kind": "label"})
    assert (scored.collaborate.how, scored.justify.mode, scored.justify.calibrate) == ("score", "pool", False)


def test_evidence_by_hand(tmp_path: Path) -> None:
    task = open_task(
        topics_config(tmp_path).task, [Example("a", "x", "sun"), Example("b", "x", "sea"), Example("c", "x", "air")]
    )
    classes = task.answers() or ()
    shares = np.full((3, 3), 0.1)
    shares[0, classes.index("sea")] = 0.8
    found = evidence(task, ["sea", None, "sun"], [0.5, 0.0, 1.0], [0.5, None, 0.0], [shares])
    assert found[0] == pytest.approx([0.5, math.log(math.exp(-0.5) / (1 - math.exp(-0.5))), math.log(4)])
    assert np.isnan(found[1, 1:]).all()
    assert found[2] == pytest.approx([1.0, -math.log(math.expm1(LEAST_H)), math.log(1 / 9)])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"warmup": {"folds": 0}}, "M_warm has seen every labeled row"),
        ({"rounds": 2}, "set rounds to 1"),
        ({"collaborate": {"how": "score"}}, "justify.mode: pool"),
        ({"justify": {"calibrate": False}}, "nothing else asks them"),
    ],
)
def test_settings_that_cannot_be_calibrated_are_refused(tmp_path: Path, sections: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **sections)
