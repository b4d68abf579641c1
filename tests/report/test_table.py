import io

from rich.console import Console

from semievol.report.table import markdown, results_table, terminal
from semievol.run_folder.files import read_json
from semievol.run_folder.folder import RunFolder
from semievol.training.folder import TrainingFolder


def test_every_measured_model_is_a_row_under_its_human_name(make_run):
    rows = results_table(make_run())
    assert [row.name for row in rows] == [
        "vanilla",
        "SFT (labeled only)",
        "SemiEvol",
        "pseudo-labels, kept",
        "pseudo-labels, all",
    ]


def test_figures_are_those_of_metrics_json(make_run):
    folder = make_run()
    found = read_json(folder.stage("evaluate").metrics_path)
    rows = {row.key: row for row in results_table(folder)}
    for key in ("base", "warm", "evolved"):
        figures = found["models"][key]
        row = rows[key]
        assert (row.accuracy, row.low, row.high, row.rows) == tuple(
            figures[name] for name in ("accuracy", "low", "high", "rows")
        )
        assert row.macro_f1 == figures["macro_f1"]
    assert rows["kept"].accuracy == found["pseudo_labels"]["kept"]["accuracy"]


def test_without_known_truth_there_are_no_pseudo_label_rows(make_run):
    rows = results_table(make_run(evaluate={"unlabeled_answers": None}))
    assert {row.kind for row in rows} == {"model"}


def test_a_run_that_measured_nothing_has_no_rows_and_still_says_where_it_lies(make_run):
    folder = make_run(until="evolve")
    assert results_table(folder) == []
    assert markdown(folder) == ""
    shown = _shown(folder)
    assert str(TrainingFolder(folder.stage("evolve")).adapter_path) in shown
    assert f"run folder: {folder.path}" in shown


def test_the_terminal_shows_percent_interval_and_places(make_run):
    folder = make_run()
    shown = _shown(folder)
    evolved = next(row for row in results_table(folder) if row.key == "evolved")
    assert f"{100 * evolved.accuracy:.1f}" in shown
    assert f"{100 * evolved.low:.1f} to {100 * evolved.high:.1f}" in shown
    assert "macro-F1" in shown
    assert str(TrainingFolder(folder.stage("evolve")).adapter_path) in shown


def test_brackets_in_a_path_are_not_taken_for_markup(tmp_path):
    folder = RunFolder(tmp_path / "[red]run")
    folder.path.mkdir()
    assert "[red]run" in _shown(folder)


def test_every_line_of_the_markdown_has_the_same_number_of_cells(make_run):
    lines = markdown(make_run()).splitlines()
    assert len(lines) == 2 + 5
    assert len({line.count("|") for line in lines}) == 1


def _shown(folder: RunFolder) -> str:
    console = Console(width=400, file=io.StringIO())
    with console.capture() as captured:
        console.print(terminal(folder))
    return captured.get()
