"""The evolved model passes unless it is worse than SFT beyond noise, on all rows or on a class."""

from pathlib import Path

import pytest

from samples import topics_config
from semievol.cli import main
from semievol.errors import ConfigError, GateError
from semievol.pipeline import run
from semievol.records import Answer
from semievol.report.gate import require_gate, verdicts, warning
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import write_tables
from semievol.run_folder.schema import schema_of, table_of

Rows = list[tuple[str, bool, bool]]
"""Of each test row the truth, and whether the evolved model and SFT are right."""


def measured(folder: Path, rows: Rows) -> RunFolder:
    """A run whose models have these test rows right."""
    (folder / "run.json").write_text('{"sessions": []}')
    run_folder = RunFolder(folder)
    run_folder.stage("evaluate").path.mkdir()
    for column, model in ((1, "evolved"), (2, "warm")):
        answers = [
            Answer(str(at), row[0], row[0], bool(row[column]), None, row[0], None, None, "stop")
            for at, row in enumerate(rows)
        ]
        path = run_folder.stage("evaluate").answers_path(model)
        write_tables(path, [table_of(answers, Answer)], schema_of(Answer))
    return run_folder


EQUAL: Rows = [("sun", True, True)] * 50 + [("rain", True, False)] * 3 + [("rain", False, True)] * 4


def test_a_model_that_is_worse_within_noise_passes(tmp_path: Path) -> None:
    folder = measured(tmp_path, EQUAL)
    lines = list(require_gate(folder))
    assert lines[0] == "all rows (57 test rows): not worse; right alone: evolved 3, SFT 4 (p = 1.000)"
    assert [line.split()[0] for line in lines] == ["all", "rain", "sun"]
    assert warning(folder) is None


def test_a_model_that_is_worse_beyond_noise_does_not(tmp_path: Path) -> None:
    folder = measured(tmp_path, [("sun", False, True)] * 8 + [("rain", True, True)] * 5)
    with pytest.raises(GateError, match="worse than SFT beyond noise: all rows, sun"):
        list(require_gate(folder))
    assert "--model warm" in str(warning(folder))


def test_a_model_that_is_better_on_the_whole_and_gives_up_a_class_does_not(tmp_path: Path) -> None:
    folder = measured(tmp_path, [("sun", True, False)] * 40 + [("rain", False, True)] * 10)
    worse = [verdict.name for verdict in verdicts(folder) if verdict.is_worse]
    assert worse == ["rain"]


def test_a_class_among_many_may_look_worse_by_chance(tmp_path: Path) -> None:
    others: Rows = [(f"class {at}", True, True) for at in range(19)]
    folder = measured(tmp_path, [*others, *[("rain", False, True)] * 6])  # p = 0.03 alone, 0.6 as one of twenty
    assert [verdict.name for verdict in verdicts(folder) if verdict.is_worse] == ["all rows"]


def test_free_answers_are_no_classes(tmp_path: Path) -> None:
    folder = measured(tmp_path, [(f"text {at}", True, True) for at in range(60)])
    assert [verdict.name for verdict in verdicts(folder)] == ["all rows"]


def test_a_run_without_both_models_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set data.test, keep both in evaluate.models"):
        list(require_gate(RunFolder(tmp_path)))
    assert warning(RunFolder(tmp_path)) is None


def test_the_command_ends_with_0_or_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(topics_config(tmp_path))
    expected = any(verdict.is_worse for verdict in verdicts(RunFolder(tmp_path / "run")))
    assert main(["gate", str(tmp_path / "run")]) == int(expected)
    assert capsys.readouterr().out.startswith("all rows (30 test rows): ")


def test_predict_warns_of_a_model_that_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(topics_config(tmp_path))
    worse = tmp_path / "worse"
    worse.mkdir()
    folder = measured(worse, [("sun", False, True)] * 6)
    evaluate = RunFolder(tmp_path / "run").stage("evaluate")
    for model in ("evolved", "warm"):
        evaluate.answers_path(model).write_bytes(folder.stage("evaluate").answers_path(model).read_bytes())
    evaluate.finish(evaluate.summary())
    arguments = ["predict", str(tmp_path / "run"), "--input", str(tmp_path / "test.csv")]
    assert main([*arguments, "--output", str(tmp_path / "out.csv")]) == 0
    assert "worse than SFT beyond noise" in capsys.readouterr().err
    assert main([*arguments, "--output", str(tmp_path / "warm.csv"), "--model", "warm"]) == 0
    assert "beyond noise" not in capsys.readouterr().err


def test_test_answers_that_are_damaged_do_not_end_a_prediction_with_an_error(tmp_path: Path) -> None:
    run(topics_config(tmp_path))
    RunFolder(tmp_path / "run").stage("evaluate").answers_path("warm").write_bytes(b"PAR1 and no more")
    arguments = ["predict", str(tmp_path / "run"), "--input", str(tmp_path / "test.csv")]
    assert main([*arguments, "--output", str(tmp_path / "out.csv")]) == 0
    assert main(["gate", str(tmp_path / "run")]) == 1
