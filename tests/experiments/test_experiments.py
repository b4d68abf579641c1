"""Each experiment runs and leaves its numbers, table and figures."""

import csv
import json
import sys
from pathlib import Path

import pytest

import failing
from samples import write_topics
from semievol.errors import ConfigError, DataError, ExperimentError, MissingExtraError
from semievol.experiments.catalogue import EXPERIMENTS
from semievol.experiments.options import Search
from semievol.experiments.results import markdown, page, show
from semievol.report.table import percent
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_rows
from watched import WATCHED

CATEGORIES = {"data": {"columns": {"prompt": "text", "answer": "topic", "category": "kind"}}}
METHODS = ("vanilla", "RAG (BM25)", "SFT", "SemiEvol")


def write_kinds(folder: Path) -> None:
    """Files of topics with a column of two kinds."""
    for seed, name in enumerate(("labeled", "unlabeled", "test")):
        write_topics(folder / f"{name}.csv", 30, seed=seed)
        heading, *lines = (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        kinds = [f"{line},kind {number % 2}" for number, line in enumerate(lines)]
        (folder / f"{name}.csv").write_text("\n".join([f"{heading},kind", *kinds]), encoding="utf-8")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_writes_numbers_a_table_and_figures(name: str, experiment, tmp_path: Path) -> None:
    trusted = {"collaborate": {"gate": False}}
    sections = {"stability": {"task": {"instruction": None}}, "categories": CATEGORIES, "trust": trusted}.get(name)
    methods = {"table1": METHODS, "trust": ("SFT", "SemiEvol", "trusted, committee alone")}.get(name, ())
    if name == "categories":
        write_kinds(tmp_path)
    found = experiment(name, sections=sections, methods=methods, seeds=(0, 1), rounds=2, sizes=(50, 100))
    assert not found.failures
    folder = tmp_path / "out" / name
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    with (folder / "results.csv").open(encoding="utf-8", newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert len(lines) == len(results["results"]) == len(found.all_methods) * 2
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "figure.svg").read_text(encoding="utf-8")
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert table == markdown(found)
    assert all(method.partition(",")[0] in table for method in found.all_methods)
    if name == "categories":
        assert "| kind 0 |" in table


def test_every_number_names_its_config_seed_code_and_machine(experiment, tmp_path: Path) -> None:
    found = experiment("entropy", seeds=(3,))
    with (tmp_path / "out" / "entropy" / "results.csv").open(encoding="utf-8", newline="") as handle:
        lines = list(csv.DictReader(handle))
    for line in lines:
        assert Path(line["run"], "config.yaml").exists()
        assert len(line["config_digest"]) == 64
        assert line["seed"] == "3"
        assert line["version"]
        assert line["machine"]
    table = markdown(found)
    assert "topics.yaml" in table
    assert "seed 3" in table
    assert "SemiEvol 0" in table


def test_the_accuracy_of_a_cell_is_that_of_its_answers(experiment) -> None:
    found = experiment("table1", methods=METHODS)
    for result in found.results:
        rows = read_rows(RunFolder(result.run).stage("evaluate").answers_path(result.model))
        assert result.metrics is not None
        assert result.metrics["accuracy"] == sum(row["right"] for row in rows) / 30


def test_pseudo_labels_whose_truth_is_known_are_counted(experiment) -> None:
    truth = {"evaluate": {"unlabeled_answers": "topic"}}
    found = experiment("sensitivity", sections=truth, counts=(2,), thetas=(50, 100), seeds=(0, 1))
    of_half = [each.pseudo_labels for each in found.results if each.method == "θ = 50 %"]
    all_rows = sum(each["all"]["rows"] for each in of_half)
    right, kept = (sum(each["kept"][count] for each in of_half) for count in ("right", "rows"))
    (line,) = [line for line in markdown(found).splitlines() if "θ = 50 % |" in line and " of " in line]
    assert f"| {kept} of {all_rows} | {percent(right / kept)} |" in line
    assert [each.pseudo_labels for each in found.results if each.method == "SFT"] == [None, None]


def test_where_the_truth_is_not_known_no_table_tells_of_it(experiment) -> None:
    assert "Pseudo-labels" not in markdown(experiment("sensitivity", counts=(2,), thetas=(50,)))


def test_rag_shows_the_base_model_labeled_examples_at_the_test(experiment, asked) -> None:
    memory = "nearest labeled example as memory (MemoryLLM's place)"
    experiment(
        "table1", methods=("RAG (BM25)", "vanilla", memory), search=Search(enabled=False), sections={"backend": WATCHED}
    )
    shown = [request.messages[-1]["content"].count("\nAnswer: ") for request in asked]
    assert {request.weights for request in asked} == {"base"}
    assert [shown.count(number) for number in (0, 1, 3)] == [30, 30, 30]


def test_a_method_that_fails_is_named_with_its_reason_and_the_others_go_on(
    experiment, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "semievol.retrieval.dense", None)
    found = experiment("compare", methods=("RAG (dense)", "SFT"))
    assert [result.method for result in found.failures] == ["RAG (dense)"]
    assert [summary.method for summary in found.summaries] == ["SFT"]
    table = (tmp_path / "out" / "compare" / "table.md").read_text(encoding="utf-8")
    assert "- Not measured: RAG (dense) on topics, seed 0: retrieval.kind: cannot import" in table
    with pytest.raises(ExperimentError, match="the same command tries them again"):
        show(found, tmp_path)
    monkeypatch.undo()
    again = experiment("compare", methods=("RAG (BM25)", "SFT"))
    assert not again.failures


def test_answers_that_nobody_can_read_are_told_where_the_table_is(experiment, tmp_path: Path, capsys) -> None:
    found = experiment("compare", methods=("vanilla", "SFT"))  # the fake base model repeats a word of the prompt
    show(found, tmp_path)
    unread = {summary.method: summary.no_answer for summary in found.summaries}
    assert unread["vanilla"] > unread["SFT"] == 0
    said = f"Responses without a readable answer count as wrong: {unread['vanilla']} of vanilla (topics)."
    assert said in " ".join(capsys.readouterr().out.split())
    assert f"- {said}" in (tmp_path / "out" / "compare" / "table.md").read_text(encoding="utf-8")


def test_prompts_that_do_not_fit_are_refused_before_anything_is_run(experiment, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not fit"):
        experiment("entropy", sections={"model": {"max_length": 20}})
    assert not (tmp_path / "out" / "runs").exists()


def test_stability_tests_the_same_weights_with_each_instruction(experiment) -> None:
    found = experiment("stability", sections={"task": {"instruction": None}})
    weights = {
        Path(result.run, "warmup", "adapter", "votes.json").stat().st_ino
        for result in found.results
        if result.method.startswith("SFT")
    }
    assert len(weights) == 1
    prompts = {result.method: result.config_digest for result in found.results}
    assert len(set(prompts.values())) == 15


def test_stability_takes_rephrasings_from_a_file(experiment, tmp_path: Path) -> None:
    path = tmp_path / "instructions.txt"
    path.write_text("Which topic?\n\nName the topic.\n", encoding="utf-8")
    found = experiment("stability", instructions=str(path))
    assert len(found.results) == 6


def test_an_instruction_of_the_users_own_has_to_be_rephrased_by_the_user(experiment) -> None:
    with pytest.raises(ConfigError, match="only you can rephrase"):
        experiment("stability")


def test_categories_without_a_column_say_what_to_do(experiment) -> None:
    with pytest.raises(ConfigError, match=r"data\.columns\.category"):
        experiment("categories")


def test_more_unlabeled_rows_than_there_are_is_refused_with_what_fits(experiment) -> None:
    with pytest.raises(ConfigError, match="--sizes 50 100 200 300"):
        experiment("continuous", sizes=(50, 100, 200, 300, 400))


def test_rounds_share_their_beginning_and_each_is_measured(experiment) -> None:
    found = experiment("iterative", rounds=3)
    assert [result.method for result in found.results] == ["round 0 (SFT)", "round 1", "round 2", "round 3"]
    last = Path(found.results[-1].run)
    assert (last / "round-03" / "select" / "done.json").exists()


def test_macro_f1_stands_beside_accuracy_where_classes_are_uneven(experiment, tmp_path: Path) -> None:
    assert "macro-F1" not in markdown(experiment("entropy")) + markdown(experiment("table1", methods=METHODS))
    write_topics(tmp_path / "test.csv", 60, seed=5)
    lines = (tmp_path / "test.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if ",sport" in line or "topic" in line] + lines[1:6]
    (tmp_path / "test.csv").write_text("".join(kept), encoding="utf-8")
    assert "macro-F1" in markdown(experiment("table1", methods=METHODS))


def test_one_page_holds_all_results(experiment, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results here yet"):
        page(tmp_path / "out")
    experiment("entropy")
    experiment("table1", methods=METHODS)
    text = page(tmp_path / "out")
    assert "# H on the test rows (Figure 4 of the paper)" in text
    assert f"]({(tmp_path / 'out').as_posix()}/table1/figure.svg)" in text


def test_without_matplotlib_nothing_is_begun(experiment, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"semievol\[experiments\]"):
        experiment("entropy")
    assert not (tmp_path / "out").exists()


def test_requests_that_failed_are_counted_and_the_same_command_asks_them_again(experiment, monkeypatch) -> None:
    broken = {"backend": {"kind": "failing:FailingBackend"}, "collaborate": {"collaborators": [{}]}}
    whole = experiment("entropy", sections=broken)
    monkeypatch.setattr(failing, "FAILING", {"unlabeled-1/warm+0": False, "test-3/evolved": False})
    (*_, lost) = experiment("entropy", sections={**broken, "seed": 1}).results
    assert lost.failed_requests == 2
    monkeypatch.setattr(failing, "FAILING", {})
    found = experiment("entropy", sections={**broken, "seed": 1})
    assert [result.failed_requests for result in found.results] == [0, 0, 0]
    assert whole.results[-1].failed_requests == 0


def test_the_page_names_requests_that_were_never_answered(experiment, monkeypatch) -> None:
    broken = {"backend": {"kind": "failing:FailingBackend"}}
    monkeypatch.setattr(failing, "FAILING", {"test-3/evolved": True})
    found = experiment("entropy", sections=broken)
    assert "Requests that failed: 1 of SemiEvol (topics, seed 0)." in markdown(found)
