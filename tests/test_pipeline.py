"""Whole runs on the fake engine."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import semievol
from samples import topics_config, write_topics
from semievol.errors import ConfigError, RunFolderError, Stopped, TrainingError
from semievol.pipeline import run
from semievol.predict import predict
from semievol.progress import Reporter
from semievol.records import Request
from semievol.report import finish
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_rows
from watched import DRAWS, WATCHED


def outcome(folder: Path) -> bytes:
    return (folder / "run" / "select" / "pseudo_labels.parquet").read_bytes()


def test_a_run_measures_every_model_and_leaves_the_weights(tmp_path: Path) -> None:
    result = run(topics_config(tmp_path))
    assert result.metrics is not None
    assert set(result.metrics["models"]) == {"base", "warm", "evolved"}
    assert result.metrics["models"]["base"]["rows"] == 30
    assert result.metrics["models"]["warm"]["accuracy"] > result.metrics["models"]["base"]["accuracy"]
    assert result.weights is not None
    assert Path(result.weights, "votes.json").exists()
    assert all((tmp_path / "run" / stage / "done.json").exists() for stage in ("warmup", "select", "evaluate"))


def test_every_unlabeled_row_is_accounted_for_with_a_reason(tmp_path: Path) -> None:
    run(topics_config(tmp_path), until="select")
    rows = pq.read_table(tmp_path / "run" / "select" / "pseudo_labels.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"unlabeled-{i}" for i in range(40)]
    assert all(row["reason"] for row in rows)
    assert 0 < sum(row["kept"] for row in rows) < 40


def test_the_answers_of_the_unlabeled_file_are_never_read(tmp_path: Path) -> None:
    with_answers, without, wrong = (tmp_path / name for name in ("with", "without", "wrong"))
    for folder in (with_answers, without, wrong):
        folder.mkdir()
        write_topics(folder / "unlabeled.csv", 40, seed=40, answers=folder is not without)
    text = (wrong / "unlabeled.csv").read_text(encoding="utf-8")
    (wrong / "unlabeled.csv").write_text(text.replace(",sport", ",nonsense"), encoding="utf-8")
    for folder in (with_answers, without, wrong):
        run(topics_config(folder))
    assert outcome(with_answers) == outcome(without) == outcome(wrong)
    assert (with_answers / "run/evaluate/evolved.parquet").read_bytes() == (
        without / "run/evaluate/evolved.parquet"
    ).read_bytes()


def test_the_truth_of_the_unlabeled_rows_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    result = run(topics_config(tmp_path, evaluate={"unlabeled_answers": "topic"}))
    assert result.metrics is not None
    figures = result.metrics["pseudo_labels"]
    truth = {
        f"unlabeled-{i}": row["topic"]
        for i, row in enumerate(csv.DictReader((tmp_path / "unlabeled.csv").open(encoding="utf-8")))
    }
    rows = pq.read_table(tmp_path / "run" / "select" / "pseudo_labels.parquet").to_pylist()
    right = [row["answer"] == truth[row["id"]] for row in rows if row["kept"]]
    assert figures["kept"]["accuracy"] == sum(right) / len(right)
    assert figures["all"]["rows"] == 40


def test_the_same_run_in_another_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(topics_config(tmp_path / name))
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        run(topics_config(tmp_path / str(seed), seed=seed), until="select")
    assert outcome(tmp_path / "0") != outcome(tmp_path / "1")


def test_a_folder_of_another_config_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    run(topics_config(tmp_path), until="select")
    before = outcome(tmp_path)
    with pytest.raises(RunFolderError, match=r"select\.theta: was 0\.5, is now 0\.3(.|\n)*--redo select"):
        run(topics_config(tmp_path, select={"theta": 0.3}))
    assert outcome(tmp_path) == before


def test_redo_makes_the_stage_and_the_later_ones_anew_and_keeps_the_earlier(tmp_path: Path) -> None:
    run(topics_config(tmp_path))
    answers = (tmp_path / "run/collaborate/part-00000.parquet").stat().st_mtime_ns
    before = outcome(tmp_path)
    run(topics_config(tmp_path, select={"theta": 0.3}), redo="select")
    assert outcome(tmp_path) != before
    assert (tmp_path / "run/collaborate/part-00000.parquet").stat().st_mtime_ns == answers


def test_a_change_of_the_labeled_file_is_noticed(tmp_path: Path) -> None:
    run(topics_config(tmp_path), until="warmup")
    write_topics(tmp_path / "labeled.csv", 14, seed=9)
    with pytest.raises(RunFolderError, match="rows: was"):
        run(topics_config(tmp_path), until="warmup")


def test_until_stops_after_the_stage(tmp_path: Path) -> None:
    result = run(topics_config(tmp_path), until="justify")
    assert (result.weights, result.metrics) == (None, None)
    assert not (tmp_path / "run" / "select").exists()


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no stage 'sellect'"):
        run(topics_config(tmp_path), until="sellect")


def test_rounds_move_selected_rows_to_the_labeled_ones(tmp_path: Path) -> None:
    result = run(topics_config(tmp_path, rounds=3, evaluate={"unlabeled_answers": "topic"}))
    kept, left = 0, 40
    for number in (1, 2, 3):
        rows = pq.read_table(RunFolder(tmp_path / "run").stage("select", number).rows_path).to_pylist()
        assert len(rows) == left
        kept += sum(row["kept"] for row in rows)
        left -= sum(row["kept"] for row in rows)
        trained = json.loads((RunFolder(tmp_path / "run").stage("evolve", number).path / "done.json").read_text())
        assert trained["rows"] == 12 + kept
    assert result.metrics is not None
    assert result.metrics["pseudo_labels"]["all"]["rows"] == 40
    assert result.metrics["pseudo_labels"]["kept"]["rows"] == kept
    assert result.weights == str(tmp_path / "run/round-03/evolve/adapter")
    # M_warm of a later round is M_evol of the one before: Eq. 1 on labeled ∪ selected is Eq. 9
    assert not (tmp_path / "run" / "round-02" / "warmup").exists()


def test_rounds_end_when_every_row_is_taken(tmp_path: Path) -> None:
    run(topics_config(tmp_path, rounds=5, select={"enabled": False}))
    assert not (tmp_path / "run" / "round-02").exists()


def test_the_released_recipe_trains_the_warm_weights_on_pseudo_labels_alone(tmp_path: Path) -> None:
    run(topics_config(tmp_path, preset="released", evolve={"start_from": "warm", "include_labeled": False}))
    done = json.loads((tmp_path / "run/evolve/done.json").read_text())
    kept = json.loads((tmp_path / "run/select/done.json").read_text())["kept"]
    assert done["rows"] == kept
    assert json.loads((tmp_path / "run/evolve/key.json").read_text())["start_from"] != "base"


def test_without_in_weight_propagation_the_base_model_takes_the_warm_ones_place(tmp_path: Path) -> None:
    result = run(
        topics_config(
            tmp_path, warmup={"enabled": False}, task={"instruction": "weather sport money"}, select={"theta": 1}
        )
    )
    assert not (tmp_path / "run" / "warmup").exists()
    assert result.metrics is not None
    assert set(result.metrics["models"]) == {"base", "evolved"}


def test_nothing_to_train_on_is_an_error_in_words(tmp_path: Path) -> None:
    crew = [{"weights": "base"}]
    config = topics_config(
        tmp_path, evolve={"include_labeled": False}, collaborate={"collaborators": crew}, task={"instruction": "?"}
    )
    with pytest.raises(TrainingError, match=r"selection kept no row and evolve\.include_labeled is false"):
        run(config)


def test_two_processes_do_not_share_a_run_folder(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").lock(), pytest.raises(RunFolderError, match="another process is running here"):
        run(topics_config(tmp_path))


def test_an_output_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(RunFolderError, match="run: cannot be the run folder: Not a directory"):
        run(topics_config(tmp_path))


def test_stopping_saves_what_is_in_flight_and_the_next_run_goes_on(tmp_path: Path) -> None:
    class Impatient(Reporter):
        seen = 0

        def advance(self, count: int = 1, note: str = "") -> None:
            self.seen += count
            self.stopping = self.seen >= 50

    (tmp_path / "calm").mkdir()
    run(topics_config(tmp_path / "calm"))
    with pytest.raises(Stopped):
        run(topics_config(tmp_path), reporter=Impatient())
    assert any((tmp_path / "run" / "collaborate").glob("*.jsonl"))
    run(topics_config(tmp_path))
    assert outcome(tmp_path) == outcome(tmp_path / "calm")


def test_the_run_says_what_it_ran_on(tmp_path: Path) -> None:
    run(topics_config(tmp_path))
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["sessions"][0]["versions"]["semievol"] == semievol.__version__
    assert facts["sessions"][0]["seconds"] >= 0
    assert facts["max_tokens"] == 16
    assert semievol.load(tmp_path / "run/config.yaml") == topics_config(tmp_path, collaborate={"max_tokens": 16})


def test_a_later_round_retrieves_from_the_rows_that_were_selected_too(tmp_path: Path) -> None:
    crew = [{"weights": "warm", "examples": 3}, {"weights": "warm"}]
    run(topics_config(tmp_path, rounds=2, collaborate={"collaborators": crew}), until="evolve")
    shown = {
        reference
        for row in RunFolder(tmp_path / "run").stage("collaborate", 2).shards.rows()
        for reference in row["candidates"][0]["references"]
    }
    assert any(reference.startswith("unlabeled-") for reference in shown)
    assert any(reference.startswith("labeled-") for reference in shown)


def test_log_probabilities_that_are_none_cost_their_rows_and_not_the_selection(tmp_path: Path) -> None:
    config = topics_config(tmp_path, backend={"kind": "faulty:WrongLogprobs"})
    result = run(config)
    rows = read_rows(RunFolder(result.path).stage("select").rows_path)
    unknown = [row for row in rows if row["mean_nll"] is None]
    assert unknown
    assert not any(row["kept"] for row in unknown)
    assert sum(row["kept"] for row in rows) >= len(rows) // 3
    finish(result.path)
    assert "How sure the model is" in RunFolder(result.path).report_path.read_text(encoding="utf-8")


def test_every_answer_is_over_where_the_next_question_would_begin(tmp_path: Path, asked: list[Request]) -> None:
    DRAWS.append("sport\n\nText: more\nAnswer: money")
    config = topics_config(tmp_path, backend=WATCHED, collaborate={"n": 2})
    result = run(config)
    predict(config, "evolved", str(tmp_path / "unlabeled.csv"), str(tmp_path / "out.csv"), Reporter())
    stops = {request.id.partition("/")[2]: request.sampling.stop for request in asked if request.response is None}
    assert {"base", "warm", "evolved"} < set(stops)
    assert set(stops.values()) == {("\n\nText:",)}
    assert {row["text"] for row in read_rows(result.path / "evaluate" / "base.parquet")} == {"sport"}


def test_a_row_that_is_asked_again_in_a_later_round_is_drawn_anew(tmp_path: Path, asked: list[Request]) -> None:
    run(topics_config(tmp_path, rounds=2, backend=WATCHED, collaborate={"n": 2}))
    seeds: dict[str, list[int]] = {}
    for request in asked:
        if request.id.startswith("unlabeled-") and request.response is None:
            seeds.setdefault(request.id, []).append(request.sampling.seed)
    again = [found for found in seeds.values() if len(found) == 2]
    assert len(again) > 10
    assert all(first != second for first, second in again)


def test_each_collaborator_is_shown_its_own_number_of_examples(tmp_path: Path, asked: list[Request]) -> None:
    crew = [{"weights": "warm", "examples": each} for each in (3, 1, 0, 2)]
    run(topics_config(tmp_path, backend=WATCHED, collaborate={"collaborators": crew}), until="collaborate")
    shown = {request.id.partition("/")[2]: set[int]() for request in asked}
    for request in asked:
        shown[request.id.partition("/")[2]].add(request.messages[-1]["content"].count("Text: ") - 1)
    assert shown == {"warm+3": {3}, "warm+1": {1}, "warm+0": {0}, "warm+2": {2}}


def test_sft_is_measured_with_the_first_rounds_weights(tmp_path: Path) -> None:
    for rounds in (1, 3):
        (tmp_path / str(rounds)).mkdir()
        run(topics_config(tmp_path / str(rounds), rounds=rounds))
    one, three = (tmp_path / each / "run/evaluate" for each in ("1", "3"))
    assert (one / "warm.parquet").read_bytes() == (three / "warm.parquet").read_bytes()
    assert (three / "warm.parquet").read_bytes() != (three / "evolved.parquet").read_bytes()
