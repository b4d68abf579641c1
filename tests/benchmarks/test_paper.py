"""The kept results of the paper's experiments, and the driver that makes them."""

import dataclasses
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmarks.pages import ROOT
from benchmarks.paper import __main__ as driver
from benchmarks.paper.page import page, read_kept
from benchmarks.paper.steps import SEARCH, Step, ready, steps

from samples import topics_config
from semievol.arguments import PAPER_EXPERIMENTS, parser
from semievol.backends.transformers import BATCH_TOKENS
from semievol.config import Config, dump, load
from semievol.errors import RunFolderError
from semievol.experiments.catalogue import EXPERIMENTS
from semievol.experiments.experiment import run_experiment
from semievol.experiments.measurements import OUTCOMES
from semievol.experiments.options import Options, Search, from_arguments
from semievol.experiments.progress import GridReporter
from semievol.experiments.statistics import Comparison, Summary
from semievol.run_folder.folder import RunFolder

KEPT = ROOT / "benchmarks" / "results" / "paper"
CONFIGS = sorted((ROOT / "benchmarks" / "paper").glob("*.yaml"))


def result(task: str, method: str, right: int, error: str | None = None) -> dict[str, Any]:
    measured = None if error else {"right": right, "rows": 100, "accuracy": right / 100}
    return {"task": task, "seed": 0, "method": method, "metrics": measured, "error": error}


def write_kept(
    folder: Path,
    name: str,
    experiment: str,
    results: list[dict[str, Any]],
    comparisons: Sequence[Comparison] = (),
    summaries: Sequence[Summary] = (),
) -> None:
    (folder / name).mkdir(parents=True)
    found = {
        "experiment": experiment,
        "targets": [],
        "summaries": [dataclasses.asdict(one) for one in summaries],
        "comparisons": [dataclasses.asdict(one) for one in comparisons],
        "results": results,
    }
    (folder / name / "results.json").write_text(json.dumps(found))
    (folder / name / "table.md").write_text("# Methods\n\n![The same as a figure](figure.svg)\n")


def test_the_page_says_what_the_kept_results_say() -> None:
    written = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert written == page(KEPT), "run: python -m benchmarks.paper --page"


@pytest.mark.parametrize("name", read_kept(KEPT))
def test_what_is_kept_was_made_from_the_configs_that_are_here(name: str) -> None:
    for target in read_kept(KEPT)[name].found["targets"]:
        made = Config.model_validate(target["config"])
        assert made.backend.batch_tokens == BATCH_TOKENS["cpu"]  # what `auto` is there
        backend = made.backend.model_copy(update={"batch_tokens": "auto"})
        assert made.model_copy(update={"backend": backend}) == load(ROOT / target["source"])


def test_a_task_where_no_trained_model_beats_one_answer_for_all_is_called_at_chance(tmp_path: Path) -> None:
    rows = [summary("guessed", "SFT", 0.55), summary("learned", "SFT", 0.7), summary("learned", "vanilla", 0.4)]
    write_kept(tmp_path, "table1", "table1", [], summaries=rows)
    made = page(tmp_path)
    assert "| **guessed: at chance** | 50.0 | none | SFT |" in made
    assert "| learned | 50.0 | SFT | vanilla |" in made


def summary(task: str, method: str, accuracy: float) -> Summary:
    return Summary(task, "small", method, (0,), accuracy, None, None, None, 100, None, 0, None, most_frequent=0.5)


def compared(one: str, difference: float, p_corrected: float, p: float = 0.01) -> Comparison:
    low, high = difference - 0.02, difference + 0.02
    return Comparison(
        "fpb", "small", one, "SFT", (0,), difference, (difference,), None, low, high, 9, 1, p, p_corrected
    )


def test_only_what_is_sure_after_the_correction_is_called_better_or_worse(tmp_path: Path) -> None:
    pairs = [compared("SemiEvol", 0.05, 0.02), compared("vanilla", -0.3, 0.01), compared("released", 0.04, 0.06)]
    write_kept(tmp_path, "table1", "table1", [], pairs)
    assert "| table1, fpb: SFT | SemiEvol (+5.0) | vanilla (-30.0) | released (+4.0) |" in page(tmp_path)


def test_models_that_no_row_tells_apart_are_called_that(tmp_path: Path) -> None:
    alike = dataclasses.replace(compared("SemiEvol", 0.0, 1.0, p=1.0), ahead=0, behind=0)
    write_kept(tmp_path, "ablation", "ablation", [], [alike, compared("vanilla", 0.0, 1.0, p=1.0)])
    assert "SemiEvol (+0.0, no row differs), vanilla (+0.0) |" in page(tmp_path)


def test_the_page_says_what_retrieved_examples_do(tmp_path: Path) -> None:
    rows = [summary("fpb", "vanilla", 0.25), summary("fpb", "RAG (BM25)", 0.2), summary("fpb", "RAG (dense)", 0.3)]
    crews = [
        {**result("fpb", method, 0), "pseudo_labels": {"all": {"rows": 40, "right": right}}}
        for method, right in (("SemiEvol", 30), ("SemiEvol", 34), ("without in-context propagation", 36))
    ]
    write_kept(tmp_path, "table1", "table1", [], summaries=[*rows, summary("arc", "vanilla", 0.26)])
    write_kept(tmp_path, "ablation", "ablation", crews)
    made = page(tmp_path)
    assert "| fpb | 25.0 | 20.0 | 30.0 | 80.0 | 90.0 |" in made
    assert "| arc | 26.0 |" in made


def test_the_page_reads_what_an_experiment_writes(tmp_path: Path) -> None:
    config = tmp_path / "topics.yaml"
    rows = {"labeled_rows": 12, "unlabeled_rows": 30, "test_rows": 20}
    config.write_text(dump(topics_config(tmp_path, data=rows)), encoding="utf-8")
    options = Options(
        (str(config),), seeds=(0, 1), methods=("vanilla", "SFT", "SemiEvol"), sft_epochs=(2,), out=tmp_path / "out"
    )
    run_experiment(EXPERIMENTS["table1"], options, GridReporter(), tmp_path / "kept" / "table1")
    made = page(tmp_path / "kept")
    assert "- **topics**: " in made
    assert "with 2 seeds, ahead in" in made
    assert re.search(r"SFT without the search: \d+\.\d % with 2 epochs\.", made)
    assert "| topics | 12 | 30 | 20 | 3 | 2 | 2 | 0.0001 |" in made
    assert "## Methods (Table 1 of the paper)" in made


def test_the_page_names_what_was_not_run_or_failed(tmp_path: Path) -> None:
    write_kept(tmp_path, "table1", "table1", [result("fpb", "SFT", 80), result("r8", "SFT", 0, error="no memory")])
    made = page(tmp_path)
    assert "- table1 on fpb: seeds 1, 2\n- table1 on r8: seeds 0, 1, 2\n" in made
    assert "- ablation on fpb: seeds 0, 1, 2\n" in made


def test_the_page_finds_its_figures(tmp_path: Path) -> None:
    write_kept(tmp_path, "ablation", "ablation", [])
    made = page(tmp_path)
    assert "## Methods" in made
    assert "](../benchmarks/results/paper/ablation/figure.svg)" in made


def test_every_experiment_of_the_paper_is_among_the_steps() -> None:
    assert {step.experiment for step in steps()} == set(PAPER_EXPERIMENTS)
    assert {path.stem for path in CONFIGS} == {task for step in steps() for task in step.tasks}


def test_a_later_step_of_a_name_has_all_that_an_earlier_one_has() -> None:
    widest: dict[str, Step] = {}
    for step in steps():
        if before := widest.get(step.name):
            assert {*before.tasks} <= {*step.tasks}
            assert {*before.seeds} <= {*step.seeds}
        widest[step.name] = step


def test_what_works_on_the_same_runs_keeps_its_order_and_the_rest_goes_ahead() -> None:
    fpb, r8, ablation, later = (
        Step("table1", ("fpb",), (0,)),
        Step("table1", ("r8",), (0,)),
        Step("ablation", ("fpb",), (0,)),
        Step("table1", ("fpb",), (1,)),
    )
    assert ready([r8, ablation, later], [fpb]) == r8
    assert ready([ablation, later], [fpb, r8]) == later  # the ablation works on the runs of the table
    assert ready([ablation], [fpb]) is None


def test_the_command_of_a_step_is_what_it_runs() -> None:
    for step in steps():
        given = vars(parser().parse_args(step.arguments("runs")))
        assert from_arguments(given) == step.options("runs")


@pytest.fixture
def small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps on topics in place of the paper's, in this process; the names of what is run."""
    rows = {"labeled_rows": 12, "unlabeled_rows": 36, "test_rows": 20}
    for name in ("mail", "news"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(dump(topics_config(tmp_path, data=rows)), encoding="utf-8")
    small = [Step("entropy", ("mail", "news"), (0,)), Step("continuous", ("mail",), (0,))]
    small.append(Step("entropy", ("mail", "news"), (0, 1)))
    commands: list[str] = []

    def run(part: Step, out: str, jobs: int) -> int:
        commands.append(f"{part.experiment} {part.tasks[0]} {part.seeds[0]}")
        folder = Path(out, "computed", commands[-1])
        run_experiment(EXPERIMENTS[part.experiment], part.options(out), GridReporter(), folder)
        return 0

    monkeypatch.setattr("benchmarks.paper.steps.CONFIGS", str(tmp_path))
    monkeypatch.setattr("benchmarks.paper.page.steps", lambda: small)
    monkeypatch.setattr(driver, "steps", lambda: small)
    monkeypatch.setattr(driver, "run", run)
    return commands


def drive(folder: Path, monkeypatch: pytest.MonkeyPatch, out: str = "out") -> int:
    given = ["paper", "--out", str(folder / out), "--keep", str(folder / "kept"), "--jobs", "1"]
    monkeypatch.setattr("sys.argv", given)
    return driver.main()


ALL_SMALL = ["entropy mail 0", "entropy news 0", "continuous mail 0", "entropy mail 1", "entropy news 1"]


def test_tasks_and_seeds_are_added_to_what_is_kept(small_steps, tmp_path: Path, monkeypatch) -> None:
    assert drive(tmp_path, monkeypatch) == 0
    assert small_steps == ALL_SMALL
    kept = read_kept(tmp_path / "kept")["entropy"]
    assert kept.measured() == {("mail", 0), ("mail", 1), ("news", 0), ("news", 1)}
    whole = Options((str(tmp_path / "mail.yaml"), str(tmp_path / "news.yaml")), seeds=(0, 1), out=tmp_path / "whole")
    options = dataclasses.replace(whole, search=Search(epochs=SEARCH))
    run_experiment(EXPERIMENTS["entropy"], options, GridReporter(), tmp_path / "at once")
    at_once = json.loads((tmp_path / "at once" / "results.json").read_text(encoding="utf-8"))
    assert kept.found["summaries"] == at_once["summaries"]


def test_another_checkout_goes_on_from_what_is_kept(small_steps, tmp_path: Path, monkeypatch) -> None:
    assert drive(tmp_path, monkeypatch) == 0
    small_steps.clear()
    assert drive(tmp_path, monkeypatch, "elsewhere") == 0
    assert not small_steps
    shutil.rmtree(tmp_path / "kept" / "continuous")
    assert drive(tmp_path, monkeypatch, "elsewhere") == 0
    assert small_steps == ["continuous mail 0"]


def test_results_without_single_rows_are_made_anew_where_seeds_are_added(
    small_steps, tmp_path: Path, monkeypatch
) -> None:
    assert drive(tmp_path, monkeypatch) == 0
    path = tmp_path / "kept" / "entropy" / "results.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["results"] = [each for each in found["results"] if each["seed"] == 0]
    path.write_text(json.dumps(found), encoding="utf-8")
    for name in ("entropy", "continuous"):
        (tmp_path / "kept" / name / OUTCOMES).unlink()
    small_steps.clear()
    assert drive(tmp_path, monkeypatch, "elsewhere") == 0
    assert small_steps == [each for each in ALL_SMALL if "entropy" in each]


def test_what_failed_is_not_kept_and_is_run_again(small_steps, tmp_path: Path, monkeypatch) -> None:
    whole = driver.run
    with monkeypatch.context() as patched:
        patched.setattr(driver, "run", lambda part, out, jobs: 1 if part.seeds == (1,) else whole(part, out, jobs))
        assert drive(tmp_path, monkeypatch) == 1
    assert read_kept(tmp_path / "kept")["entropy"].measured() == {("mail", 0), ("news", 0)}
    small_steps.clear()
    assert drive(tmp_path, monkeypatch) == 0
    assert small_steps == ["entropy mail 1", "entropy news 1"]


def test_a_second_driver_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["paper", "--out", str(tmp_path), "--keep", str(tmp_path / "kept")])
    with RunFolder(tmp_path).lock(), pytest.raises(RunFolderError, match="another process is running here"):
        driver.main()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_parses_and_names_no_place_on_one_machine(path: Path) -> None:
    config = load(path)
    for source in (config.data.labeled, config.data.unlabeled, config.data.test):
        assert str(source).startswith(("$SEMIEVOL_DATA/", "pypi://"))
