"""Plain classifiers beside the language models."""

import numpy as np
import pytest

from samples import topics_config
from semievol.cli import main
from semievol.config import build, dump
from semievol.errors import ConfigError
from semievol.pipeline import run
from semievol.records import Example
from semievol.run_folder.parquet import read_rows
from semievol.stages.baselines import GRID, BaselineRows, best_c, logistic_regression, selected

PLAIN, SELF_TRAINED = "logistic_regression", "self_trained_logistic_regression"
ANSWERED = [("a", 0.9), ("b", 0.5), ("a", 0.8), ("a", 0.7), ("b", 0.4), ("a", 0.6)]


def test_the_surest_share_of_all_answers_is_kept() -> None:
    assert selected(ANSWERED, build({"select": {"theta": 0.5}})) == [0, 2, 3]


def test_the_surest_share_of_each_answer_is_kept_where_selection_does_so() -> None:
    assert selected(ANSWERED, build({"select": {"theta": 0.5, "per_answer": True}})) == [0, 1, 2]


def test_all_are_kept_where_selection_is_off() -> None:
    assert selected(ANSWERED, build({"select": {"enabled": False}})) == list(range(6))


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 6.0])
def test_c_is_the_best_of_a_cross_validation(noise: float) -> None:
    linear, selection = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.model_selection")
    rng = np.random.default_rng(0)
    answers = ["a", "b", "c"] * 20
    vectors = rng.normal(size=(3, 12))[[0, 1, 2] * 20] + noise * rng.normal(size=(60, 12))
    folds = selection.StratifiedKFold(5, shuffle=True, random_state=3)
    scores = [
        selection.cross_val_score(linear.LogisticRegression(C=c, max_iter=2000), vectors, answers, cv=folds).mean()
        for c in GRID
    ]
    assert best_c(vectors, answers, 3) == GRID[int(np.argmax(scores))]


def test_an_answer_with_one_row_leaves_nothing_to_validate_on() -> None:
    assert best_c(np.eye(5), ["a", "a", "b", "b", "c"], 0) == 10.0


@pytest.mark.network
def test_one_answer_in_the_labeled_rows_is_refused() -> None:
    rows = BaselineRows([Example("1", "a text", "x"), Example("2", "another", "x")], (), ())
    with pytest.raises(ConfigError, match="two different answers"):
        logistic_regression(build({}), rows)


@pytest.mark.network
def test_the_self_trained_one_learns_from_the_unlabeled_rows_without_any_language_model(tmp_path, capsys) -> None:
    sections = {"evaluate": {"models": [], "baselines": [PLAIN, SELF_TRAINED]}, "evolve": {"enabled": False}}
    config = topics_config(tmp_path, warmup={"enabled": False}, **sections)
    result = run(config)
    assert set(result.metrics["models"]) == {PLAIN, SELF_TRAINED}
    assert sorted(path.name for path in result.path.iterdir() if path.joinpath("done.json").exists()) == ["evaluate"]
    probabilities = {
        name: [row["probability"] for row in read_rows(result.path / "evaluate" / f"{name}.parquet")]
        for name in (PLAIN, SELF_TRAINED)
    }
    assert probabilities[PLAIN] != probabilities[SELF_TRAINED]

    config_file = tmp_path / "config.yaml"
    config_file.write_text(dump(config), encoding="utf-8")
    assert main(["run", str(config_file), "--set", "select.theta=0.2"]) == 1
    assert "rule.theta: was 0.5, is now 0.2" in capsys.readouterr().err


@pytest.mark.network
def test_setfit_learns_from_the_labeled_rows_and_leaves_neither_files_nor_words(tmp_path, capfd) -> None:
    pytest.importorskip("setfit", reason="SetFit is not installed: pip install 'semievol[setfit]'")
    config = topics_config(
        tmp_path,
        warmup={"enabled": False},
        evaluate={"models": [], "baselines": ["setfit"]},
        evolve={"enabled": False},
    )
    before = set(tmp_path.iterdir())
    result = run(config)
    assert result.metrics["models"]["setfit"]["accuracy"] >= 0.75
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"run"}
    rows = read_rows(result.path / "evaluate" / "setfit.parquet")
    assert all(1 / 3 < row["probability"] < 1 for row in rows)
    said = capfd.readouterr()
    assert said.out + said.err == ""
