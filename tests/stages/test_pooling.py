"""One calibrated distribution out of the collaborators and the views, and what is kept by it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import failing
from samples import run_results, topics_config, write_topics
from semievol.config import PRESETS, Config
from semievol.errors import RunFolderError
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.records import Example, Request, Response
from semievol.run_folder.parquet import read_rows
from semievol.stages.pooling import collaborators_of
from semievol.tasks import open_task
from semievol.training import fake
from semievol.training.job import Job
from semievol.trust.estimates import estimate
from watched import SAYS, WATCHED

VIEW = "word_view:WordView"


def config(folder: Path, **sections: Any) -> Config:
    """A run of the trusted preset on the fake engine, with a view of words."""
    if not (folder / "labeled.csv").exists():
        write_topics(folder / "labeled.csv", 60, seed=1)
        write_topics(folder / "unlabeled.csv", 120, seed=2)
    justify = {"views": [VIEW], **sections.pop("justify", {})}
    collaborate = {"gate": False, **sections.pop("collaborate", {})}
    return topics_config(folder, preset="trusted", justify=justify, collaborate=collaborate, **sections)


def pseudo_labels(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "run/select/pseudo_labels.parquet")


def pool(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run/justify/pool.json").read_text())
    return content


def test_the_preset_pools_a_cross_fitted_committee_and_weighs_every_row(tmp_path: Path) -> None:
    run(config(tmp_path))
    assert pool(tmp_path)["views"] == ["warm+0", VIEW]
    rows = pseudo_labels(tmp_path)
    assert all(row["kept"] and row["origin"] == "pooled" for row in rows)
    assert all(row["weight"] == row["probability"] for row in rows)
    assert {stage.name for stage in (tmp_path / "run/warmup").iterdir() if stage.is_dir()} == {
        "adapter",
        *(f"fold-{part}" for part in range(1, PRESETS["trusted"]["warmup"]["folds"] + 1)),
    }


def test_a_view_that_knows_more_is_heard_more_and_is_right_more_often(tmp_path: Path, asked: list[Any]) -> None:
    def unknowing(request: Request, response: Response) -> Response:
        return Response(response.id, response.text, (-1.0 - len(request.id) % 3,), "scored", 1, 1)

    SAYS.append(unknowing)
    options: dict[str, Any] = {"backend": WATCHED, "evaluate": {"unlabeled_answers": "topic"}}
    run(config(tmp_path, **options))
    weights = pool(tmp_path)["weights"]
    assert weights[1] > 0.8 > weights[0]
    with_view = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())["pseudo_labels"]
    run(config(tmp_path, output=str(tmp_path / "alone"), justify={"views": []}, **options))
    without = json.loads((tmp_path / "alone/evaluate/metrics.json").read_text())["pseudo_labels"]
    assert with_view["all"]["accuracy"] > without["all"]["accuracy"] + 0.2
    assert with_view["probability"]["risk_coverage"] < without["probability"]["risk_coverage"]


def test_what_the_pool_predicts_for_itself_is_kept_and_is_about_what_comes_true(tmp_path: Path) -> None:
    run(config(tmp_path, evaluate={"unlabeled_answers": "topic"}))
    known = read_rows(tmp_path / "run/justify/out_of_fold.parquet")
    figures = pool(tmp_path)["out_of_fold"]
    assert len(known) == figures["rows"] == 60
    assert figures["accuracy"] == pytest.approx(np.mean([row["right"] for row in known]))
    truth = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())["pseudo_labels"]
    promise = json.loads((tmp_path / "run/select/done.json").read_text())["promise"]
    assert promise["low"] <= truth["all"]["accuracy"] <= promise["high"]


def test_a_labels_own_row_does_not_tell_its_out_of_fold_answer(tmp_path: Path) -> None:
    """Prompts that have no word in common: who remembers them all is right of none that he has not seen."""
    rows = [f"only{number},{'abc'[number % 3]}" for number in range(60)]
    (tmp_path / "labeled.csv").write_text("\n".join(["text,topic", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("text,topic\nelsewhere,a\n")
    run(config(tmp_path), until="select")
    figures = pool(tmp_path)["out_of_fold"]
    assert figures["accuracy"] < 0.5
    assert figures["confidence"] < 0.6


@pytest.mark.parametrize(
    "select",
    [
        {"rule": "precision", "precision": 0.6},
        {"rule": "max_error", "max_error": 0.2},
        {"rule": "theta", "criterion": "probability", "theta": 0.3},
    ],
)
def test_the_surest_rows_are_kept_and_the_reason_says_from_where_on(tmp_path: Path, select: Any) -> None:
    settings = config(tmp_path, select=select, justify={"views": []})
    lines = (tmp_path / "labeled.csv").read_text().splitlines()
    lines[5::5] = [line.rpartition(",")[0] + ",money" for line in lines[5::5]]  # a label in five may be wrong
    (tmp_path / "labeled.csv").write_text("\n".join(lines) + "\n")
    run(settings)
    rows = pseudo_labels(tmp_path)
    chosen = [row for row in rows if row["kept"]]
    assert 0 < len(chosen) < len(rows)
    least = min(row["probability"] for row in chosen)
    assert all((row["probability"] >= least) == row["kept"] for row in rows)
    assert all(f"probability {row['probability']:.4f}" in row["reason"] for row in rows)
    promise = json.loads((tmp_path / "run/select/done.json").read_text())["promise"]
    assert promise["rows"] == len(chosen)


def test_the_weights_reach_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights: dict[str, list[float]] = {}
    train = fake.FakeTrainer.train

    def watched(self: fake.FakeTrainer, job: Job, *arguments: Any) -> Any:
        weights[Path(str(job.out)).parent.name] = [example.weight for example in job.examples]
        return train(self, job, *arguments)

    monkeypatch.setattr(fake.FakeTrainer, "train", watched)
    run(config(tmp_path))
    assert weights["warmup"] == [1.0] * 60
    assert weights["evolve"] == [1.0] * 60 + [row["weight"] for row in pseudo_labels(tmp_path)]


def test_without_a_rule_that_promises_every_kept_row_counts_as_one(tmp_path: Path) -> None:
    run(config(tmp_path, select={"rule": "theta", "criterion": "probability"}))
    assert {(row["kept"], row["weight"]) for row in pseudo_labels(tmp_path)} == {(True, 1.0), (False, 0.0)}


def test_a_run_that_is_done_is_not_run_again_and_another_rule_asks_nothing(tmp_path: Path, asked: list[Any]) -> None:
    run(config(tmp_path, backend=WATCHED))
    before = run_results(tmp_path / "run")
    asked.clear()
    run(config(tmp_path, backend=WATCHED))
    assert run_results(tmp_path / "run") == before
    run(config(tmp_path, backend=WATCHED, select={"rule": "precision"}), until="select", redo="select")
    assert asked == []


def test_a_collaborator_that_said_nothing_of_a_row_leaves_it_to_the_others(tmp_path: Path) -> None:
    task = open_task(config(tmp_path).task, [Example("a", "x", "sun"), Example("b", "x", "sea")])
    first, second = collaborators_of(task, [Example("c", "x")], [[[], [0.9, 0.1]]])
    assert first[0, 0] == first[0, 1]
    assert np.exp(second[0]) == pytest.approx([0.9, 0.1])


def test_kept_answers_whose_shares_leave_those_of_the_labels_are_spoken_of(tmp_path: Path) -> None:
    said: list[str] = []
    reporter = Reporter()
    reporter.say = said.append  # type: ignore[method-assign]
    settings = config(tmp_path)
    run(settings, until="select", reporter=reporter)
    assert not [line for line in said if "other shares" in line]
    assert [line for line in said if line.startswith("select: 120 of 120 rows kept; expected right ")]
    lines = (tmp_path / "unlabeled.csv").read_text().splitlines()
    (tmp_path / "unlabeled.csv").write_text("\n".join([lines[0], *(line for line in lines if ",money" in line)]) + "\n")
    run(settings.model_copy(update={"output": str(tmp_path / "other")}), until="select", reporter=reporter)
    assert [line for line in said if "the kept answers have other shares than the labels: money" in line]


@pytest.mark.parametrize(
    "at",
    [
        "labeled-0/warm+0/fold-1/0",
        "labeled-59/warm+0/fold-2/2",
        "unlabeled-0/warm+0/warm/0",
        "unlabeled-77/warm+0/fold-3/1",
    ],
)
def test_a_run_that_is_broken_off_at_any_score_goes_on_to_the_same_bytes(tmp_path: Path, at: str) -> None:
    settings = config(tmp_path, backend={"kind": "failing:FailingBackend"})
    run(settings.model_copy(update={"output": str(tmp_path / "whole")}))
    part = at.split("/")[2]
    if at.startswith("labeled"):  # the fold that has not seen the row
        part = next(f"fold-{p}" for p in range(1, 5) if failing.ASKED[at.replace(part, f"fold-{p}")])
    failing.ASKED.clear()
    failing.BREAKING.add(at.replace(at.split("/")[2], part))
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    run(settings)
    assert max(failing.ASKED.values()) == 1  # nothing is asked twice
    assert run_results(tmp_path / "run") == run_results(tmp_path / "whole")


def test_a_run_that_is_broken_off_between_two_trainings_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    train = fake.FakeTrainer.train

    def once(self: fake.FakeTrainer, job: Job, *arguments: Any) -> Any:
        name = Path(str(job.out)).parent.name
        if name == "fold-3" and "broken" not in trained:
            trained.append("broken")
            raise KeyboardInterrupt
        trained.append(name)
        return train(self, job, *arguments)

    monkeypatch.setattr(fake.FakeTrainer, "train", once)
    with pytest.raises(KeyboardInterrupt):
        run(config(tmp_path))
    run(config(tmp_path))
    assert trained == ["warmup", "fold-1", "fold-2", "broken", "fold-3", "fold-4", "evolve"]


def test_other_labels_are_another_committee_and_redo_makes_it_anew(tmp_path: Path) -> None:
    run(config(tmp_path), until="select")
    before = (tmp_path / "run/warmup/fold-2/adapter/votes.json").read_bytes()
    text = (tmp_path / "labeled.csv").read_text()
    (tmp_path / "labeled.csv").write_text(text.replace("money", "sport", 5))
    with pytest.raises(RunFolderError, match="--redo warmup"):
        run(config(tmp_path), until="select")
    assert (tmp_path / "run/warmup/fold-2/adapter/votes.json").read_bytes() == before
    run(config(tmp_path), until="select", redo="warmup")
    assert (tmp_path / "run/warmup/fold-2/adapter/votes.json").read_bytes() != before
    run(config(tmp_path, output=str(tmp_path / "fresh")), until="select")
    assert run_results(tmp_path / "run") == run_results(tmp_path / "fresh")


def test_the_promise_of_one_threshold_for_each_answer_is_of_the_rows_that_are_kept(tmp_path: Path) -> None:
    rule = {"rule": "theta", "criterion": "probability", "theta": 0.4, "per_answer": True}
    run(config(tmp_path, select=rule, justify={"views": []}))
    kept = [row for row in pseudo_labels(tmp_path) if row["kept"]]
    least = {
        answer: min(r["probability"] for r in kept if r["answer"] == answer) for answer in {r["answer"] for r in kept}
    }
    labels = read_rows(tmp_path / "run/justify/out_of_fold.parquet")
    expected = estimate(
        np.array([row["probability"] for row in kept]),
        [row["right"] for row in labels if row["probability"] >= least.get(row["answer"], 2) - 1e-3],
    )
    assert expected is not None
    promise = json.loads((tmp_path / "run/select/done.json").read_text())["promise"]
    assert promise["rows"] == len(kept)
    assert promise["expected"] == pytest.approx(expected.expected, abs=0.02)
