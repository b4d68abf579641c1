"""Results of several calls, in one table."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from semievol.errors import ExperimentError
from semievol.experiments.catalogue import EXPERIMENTS
from semievol.experiments.grid import Result
from semievol.experiments.options import Search
from semievol.experiments.outcomes import read, write
from semievol.experiments.results import Findings, markdown

METHODS = ("vanilla", "SFT", "SemiEvol")
SEARCH = Search(epochs=(1, 2))


def without_places(found: Findings) -> tuple[list[Result], list[object]]:
    """What was found, without where and when it was computed."""
    results = [dataclasses.replace(each, run="", facts={}) for each in found.results]
    return results, [*found.summaries, *found.comparisons]


def moved(folder: Path, to: Path) -> Path:
    """The results as they come from another machine, without the runs they were made by."""
    folder.rename(to)
    return to


@pytest.mark.parametrize("name", ["table1", "entropy"])
def test_seeds_of_two_machines_give_the_table_that_one_machine_gives(name: str, experiment, tmp_path: Path) -> None:
    given = {"methods": METHODS if name == "table1" else (), "search": SEARCH}
    one = experiment(name, seeds=(0, 1), out=tmp_path / "one", **given)
    experiment(name, seeds=(1,), out=tmp_path / "two", **given)
    kept = moved(tmp_path / "out" / name, tmp_path / "kept")
    both = experiment(name, seeds=(0,), out=tmp_path / "three", add=(kept,), **given)
    assert without_places(both) == without_places(one)
    assert [table.rows for table in both.tables] == [table.rows for table in one.tables]
    assert both.searched == one.searched
    assert "seeds 0, 1" in markdown(both)


def test_a_cell_that_is_measured_again_replaces_what_is_added(experiment, tmp_path: Path) -> None:
    experiment("table1", methods=METHODS, seeds=(0,))
    kept = moved(tmp_path / "out" / "table1", tmp_path / "kept")
    fields = json.loads((kept / "results.json").read_text(encoding="utf-8"))
    for each in fields["results"]:
        each["metrics"] |= {"accuracy": 0.123, "low": 0.1, "high": 0.2}
    (kept / "results.json").write_text(json.dumps(fields), encoding="utf-8")
    found = experiment("table1", methods=("SFT",), seeds=(0,), add=(kept,))
    assert [(each.method, each.accuracy == 0.123) for each in found.summaries] == [
        ("vanilla", True),
        ("SFT", False),
        ("SemiEvol", True),
    ]


def test_a_task_that_is_only_added_has_its_column(experiment, tmp_path: Path) -> None:
    experiment("table1", methods=METHODS)
    kept = moved(tmp_path / "out" / "table1", tmp_path / "kept")
    path = kept / "results.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"task": "topics"', '"task": "mail"'), encoding="utf-8")
    outcomes = kept / "outcomes.parquet"
    write(outcomes, {("mail", *place[1:]): each for place, each in read(outcomes).items()})
    found = experiment("table1", methods=METHODS, add=(kept,))
    assert found.tables[0].columns == ["", "mail", "topics"]
    assert [each.task for each in found.comparisons] == ["mail", "mail", "topics", "topics"]


def test_a_method_may_rest_on_its_tasks_config(experiment, tmp_path: Path) -> None:
    methods = ("vanilla", "RAG (BM25)")
    experiment("table1", methods=methods, sections={"retrieval": {"k": 1}}, search=Search(enabled=False))
    (tmp_path / "topics.yaml").rename(tmp_path / "mail.yaml")
    first = {"configs": (str(tmp_path / "mail.yaml"),), "methods": methods, "search": Search(enabled=False)}
    experiment("table1", **first)
    kept = moved(tmp_path / "out" / "table1", tmp_path / "kept")
    found = experiment("table1", methods=methods, search=Search(enabled=False), add=(kept,))
    shown = {task: named["RAG (BM25)"].options["evaluate"]["examples"] for (task, _), named in found.methods.items()}
    assert shown == {"mail": 1, "topics": 3}
    both = moved(tmp_path / "out" / "table1", tmp_path / "both")
    again = experiment("table1", **first, seeds=(1,), add=(both,))
    assert [(each.task, each.method, each.seeds) for each in again.summaries] == [
        ("mail", "vanilla", (0, 1)),
        ("mail", "RAG (BM25)", (0, 1)),
        ("topics", "vanilla", (0,)),
        ("topics", "RAG (BM25)", (0,)),
    ]


def test_another_config_or_method_is_refused_before_anything_is_run(experiment, tmp_path: Path) -> None:
    experiment("continuous", sizes=(50,))
    kept = moved(tmp_path / "out" / "continuous", tmp_path / "kept")
    elsewhere = {"out": tmp_path / "elsewhere", "add": (kept,)}
    with pytest.raises(ExperimentError, match=r"kept: not the same .*: topics, select\.theta: was 0\.5, is now 0\.3"):
        experiment("continuous", sections={"select": {"theta": 0.3}}, sizes=(50,), **elsewhere)
    fields = json.loads((kept / "results.json").read_text(encoding="utf-8"))
    fields["targets"][0]["methods"][1]["options"]["data"]["unlabeled_rows"] = 7
    (kept / "results.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"50 % unlabeled, options\.data\.unlabeled_rows: was 7, is now 6"):
        experiment("continuous", sizes=(50,), **elsewhere)
    assert not (tmp_path / "elsewhere" / "runs").exists()


def test_a_folder_with_other_results_or_without_them_is_refused(experiment, tmp_path: Path) -> None:
    experiment("table1", methods=METHODS)
    kept = moved(tmp_path / "out" / "table1", tmp_path / "kept")
    with pytest.raises(ExperimentError, match="these are results of table1, not of entropy"):
        experiment("entropy", add=(kept,))
    with pytest.raises(ExperimentError, match=r"nowhere: no results\.json there"):
        experiment("entropy", add=(tmp_path / "nowhere",))


def test_a_cell_that_failed_elsewhere_is_named_until_it_is_measured(experiment, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "semievol.retrieval.dense", None)
    experiment("table1", methods=("RAG (dense)", "SFT"), seeds=(1,))
    monkeypatch.undo()
    kept = moved(tmp_path / "out" / "table1", tmp_path / "kept")
    found = experiment("table1", methods=("vanilla", "SFT"), seeds=(0,), add=(kept,))
    assert [(each.method, each.seed) for each in found.failures] == [("RAG (dense)", 1)]
    assert "Not measured: RAG (dense) on topics, seed 1" in markdown(found)


def test_what_is_equal_is_one_comparison(experiment) -> None:
    found = experiment("sensitivity", counts=(2, 3), thetas=(30, 50))
    by_name = {pair.method: pair for pair in found.comparisons}
    assert EXPERIMENTS["sensitivity"].reference not in by_name
    assert by_name["n = 3"].p_corrected == by_name["θ = 50 %"].p_corrected  # the config's own n and θ
    smallest = min(pair.p for pair in found.comparisons)
    assert min(pair.p_corrected for pair in found.comparisons) == pytest.approx(min(1, 3 * smallest))
