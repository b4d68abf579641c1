import json

import pytest

from semievol import metrics
from semievol.report.headline import headline, paired, remarks
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import write_rows
from semievol.stages.evaluate import SCHEMA


@pytest.fixture
def evaluated(tmp_path):
    """A run folder in which models answered rows as given."""

    def make(**right: list[bool]) -> RunFolder:
        folder = RunFolder(tmp_path / "run")
        stage = folder.stage("evaluate")
        stage.path.mkdir(parents=True)
        for model, verdicts in right.items():
            rows = [
                {"id": f"test-{i}", "truth": "yes", "answer": "yes" if v else "no", "right": v}
                for i, v in enumerate(verdicts)
            ]
            write_rows(stage.answers_path(model), rows, SCHEMA)
        models = {model: {**metrics.accuracy(verdicts), "no_answer": 0} for model, verdicts in right.items()}
        stage.metrics_path.write_text(json.dumps({"models": models}))
        stage.finish({"rows": 100})
        return folder

    return make


def first(count: int, total: int = 100) -> list[bool]:
    return [i < count for i in range(total)]


def test_a_clear_gain_is_said_with_both_figures(evaluated):
    sentence = headline(evaluated(warm=first(50), evolved=first(90)))
    assert "90.0 % of 100 test rows" in sentence
    assert "50.0 %: 40.0 points more" in sentence
    assert "do not overlap" in sentence
    assert "chance does not explain" in sentence


def test_a_loss_is_said_as_plainly_as_a_gain(evaluated):
    assert "40.0 points less" in headline(evaluated(warm=first(90), evolved=first(50)))


def test_overlapping_intervals_are_named_and_chance_is_admitted(evaluated):
    sentence = headline(evaluated(warm=first(80), evolved=first(83)))
    assert "intervals overlap" in sentence
    assert "chance alone may explain" in sentence


def test_the_paired_test_sees_what_overlapping_intervals_hide(evaluated):
    sentence = headline(evaluated(warm=first(80), evolved=first(88)))
    assert "intervals overlap" in sentence
    assert "of the 8 rows that just one of them has right SemiEvol has 8" in sentence
    assert "chance does not explain" in sentence


def test_equal_figures_are_called_the_same(evaluated):
    assert "the same" in headline(evaluated(warm=first(80), evolved=first(80)))


def test_rows_are_paired_by_id(evaluated):
    folder = evaluated(warm=first(80), evolved=[not right for right in first(80)])
    assert paired(folder, "evolved", "warm")[:2] == (20, 80)


def test_a_better_simple_baseline_is_not_passed_over(evaluated):
    folder = evaluated(warm=first(50), evolved=first(60), logistic_regression=first(70))
    assert any("reaches 70.0 %: more than SemiEvol" in line for line in remarks(folder))


def test_without_sft_nothing_is_compared(evaluated):
    assert "no SFT to compare with" in headline(evaluated(evolved=first(60)))


def test_before_evaluation_it_says_how_far_the_run_is(make_run, tmp_path):
    assert headline(RunFolder(tmp_path / "none")) == "Nothing is measured yet: the run has finished no stage."
    assert "finished select" in headline(make_run(until="select"))
