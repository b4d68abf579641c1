"""The package from Python: rows in memory, and what a run left."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import polars
import pyarrow as pa
import pytest

import semievol
from samples import topics_config, write_topics
from semievol import cli
from semievol.config import Config, changed, dump
from semievol.errors import ConfigError, DataError

FRAMES = ("labeled", "unlabeled", "test")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return topics_config(tmp_path)


def frame(folder: Path, split: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{split}.csv")


def sections(config: Config, folder: str, **columns: str) -> dict[str, Any]:
    """The config without its files."""
    raw = config.model_dump(mode="json") | {"output": folder}
    return raw | {"data": {"columns": {"prompt": "text", "answer": "topic", **columns}}}


def of_datasets(frame: pd.DataFrame) -> Any:
    return pytest.importorskip("datasets").Dataset.from_pandas(frame)


FORMS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame[frame["text"] != ""].set_index(frame.index * 2),
    "arrow": lambda frame: pa.Table.from_pandas(frame),
    "mappings": lambda frame: frame.to_dict("records"),
    "generator": lambda frame: (row for row in frame.to_dict("records")),
    "columns": lambda frame: {name: list(frame[name]) for name in frame},
    "datasets": of_datasets,
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_memory_give_the_run_that_their_files_give(tmp_path: Path, config: Config, form: str) -> None:
    expected = semievol.run(config, progress=False)
    rows = {split: FORMS[form](frame(tmp_path, split)) for split in FRAMES}
    result = semievol.run(sections(config, str(tmp_path / form)), **rows, progress=False)
    assert result.metrics == expected.metrics
    assert result.pseudo_labels() == expected.pseudo_labels()
    for name in ("report.html", "config.yaml", "model_card.md"):
        assert (result.path / name).exists() == (expected.path / name).exists()


def test_polars_frames_are_rows(tmp_path: Path, config: Config) -> None:
    rows = {split: polars.from_pandas(frame(tmp_path, split)) for split in FRAMES}
    assert semievol.run(sections(config, str(tmp_path / "polars")), **rows, progress=False).metrics


def test_names_of_classes_are_the_labels(tmp_path: Path, config: Config) -> None:
    datasets = pytest.importorskip("datasets")
    names = ["weather", "sport", "money"]
    features = datasets.Features({"text": datasets.Value("string"), "topic": datasets.ClassLabel(names=names)})
    labeled = datasets.Dataset.from_pandas(frame(tmp_path, "labeled"), features=features)
    assert isinstance(labeled[0]["topic"], int)
    checked = semievol.check(sections(config, str(tmp_path / "classes")), labeled=labeled.select(range(9)))
    assert set(checked.report.answers) <= set(names)
    assert len(checked.dataset.labeled) == 9


def test_a_run_on_rows_in_memory_resumes_from_python_and_from_the_command_line(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {split: frame(tmp_path, split) for split in FRAMES}
    output = tmp_path / "memory"
    semievol.run(sections(config, str(output)), **rows, until="select", progress=False)
    done = (output / "select/done.json").read_bytes()
    result = semievol.run(sections(config, str(output)), **rows, progress=False)
    assert (output / "select/done.json").read_bytes() == done
    assert cli.main(["run", str(output)]) == 0
    assert cli.main(["status", str(output)]) == 0
    assert result.weights is not None
    assert (output / "select/done.json").read_bytes() == done


def test_one_table_is_divided_by_its_blanks(tmp_path: Path, config: Config) -> None:
    rows = pd.concat([frame(tmp_path, "labeled"), frame(tmp_path, "unlabeled").drop(columns="topic")])
    checked = semievol.check(sections(config, str(tmp_path / "one")), labeled=rows, unlabeled=rows)
    assert (len(checked.dataset.labeled), len(checked.dataset.unlabeled)) == (12, 40)


def test_without_unlabeled_rows_none_are_looked_for(tmp_path: Path, config: Config) -> None:
    plan = semievol.plan(sections(config, str(tmp_path / "sft")), labeled=frame(tmp_path, "labeled"))
    assert "collaborate" not in {step.stage for step in plan.steps}
    assert not (tmp_path / "sft").exists()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            "labeled.csv",
            "labeled: str, where a table or one mapping for each row is expected; a path stands in the config",
        ),
        (["text"], "labeled row 1: str, where a mapping is expected"),
        (7, "labeled: int, where a table"),
        ({"text": ["a"], "topic": ["b", "c"]}, "labeled: "),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, config: Config, rows: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        semievol.check(sections(config, str(tmp_path / "bad")), labeled=rows)


def test_all_splits_of_a_data_set_at_once_are_refused(tmp_path: Path, config: Config) -> None:
    datasets = pytest.importorskip("datasets")
    splits = datasets.DatasetDict({"train": of_datasets(frame(tmp_path, "labeled"))})
    with pytest.raises(DataError, match="a data set of the splits train; name one of them"):
        semievol.check(sections(config, str(tmp_path / "bad")), labeled=splits)


@pytest.mark.parametrize("form", [str, Path, semievol.load])
def test_a_file_and_a_run_folder_are_configs(tmp_path: Path, config: Config, form: Callable[[str], Any]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(dump(config))
    result = semievol.run(form(str(file)), until="select", progress=False)
    assert semievol.run(form(str(result.path)), progress=False).metrics


def test_new_rows_are_answered_with_their_columns_and_texts_as_prompts(tmp_path: Path, config: Config) -> None:
    result = semievol.run(config, progress=False)
    new = frame(tmp_path, "test").assign(note=7)
    by_rows = result.predict(new, progress=False)
    assert by_rows.column_names[:3] == ["text", "topic", "note"]
    by_texts = semievol.open_run(result.path).predict(list(new["text"]), progress=False)
    assert by_texts["answer"].to_pylist() == by_rows["answer"].to_pylist()
    assert by_texts["text"].to_pylist() == list(new["text"])
    base = result.predict(("One\nof two lines",), model="base", progress=False)
    assert base["text"].to_pylist() == ["One\nof two lines"]


def test_predictions_of_a_model_that_is_worse_than_sft_come_with_a_warning(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = semievol.run(config, progress=False)
    monkeypatch.setattr("semievol.report.gate.warning", lambda folder: "worse than SFT")
    with pytest.warns(UserWarning, match="worse than SFT"):
        result.predict(["rain"], progress=False)


def test_pseudo_labels_are_every_unlabeled_row_with_its_prompt(tmp_path: Path, config: Config) -> None:
    result = semievol.run(config, until="select", progress=False)
    table = result.pseudo_labels()
    assert table["prompt"].to_pylist() == list(frame(tmp_path, "unlabeled")["text"])
    assert sum(table["kept"].to_pylist()) == json.loads((result.path / "select/done.json").read_text())["kept"]
    unselected = semievol.run(config, redo="collaborate", until="collaborate", progress=False)
    with pytest.raises(ConfigError, match="has selected nothing yet"):
        unselected.pseudo_labels()


def test_methods_are_compared_on_rows_in_memory(tmp_path: Path, config: Config) -> None:
    write_topics(tmp_path / "labeled.csv", 24, seed=1)
    rows = {split: frame(tmp_path, split) for split in FRAMES}
    findings = semievol.compare(
        sections(config, str(tmp_path / "topics")), **rows, methods=["SFT", "SemiEvol"], out=tmp_path / "grid"
    )
    assert findings
    assert (tmp_path / "grid/compare/topics/results.json").exists()


def test_a_thread_of_a_notebook_may_run_it(tmp_path: Path, config: Config) -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(semievol.run, config, progress=False).result().metrics


def test_each_run_of_a_process_has_its_own_log(tmp_path: Path, config: Config) -> None:
    for seed in (1, 2):
        semievol.run(changed(config, {"seed": seed, "output": str(tmp_path / f"run-{seed}")}), progress=False)
    first, second = ((tmp_path / f"run-{seed}/logs/run.log").read_text() for seed in (1, 2))
    assert first.count("INFO semievol: warmup (") == second.count("INFO semievol: warmup (") > 0


def test_a_notebook_completes_the_names_of_the_package() -> None:
    assert {"run", "check", "plan", "compare", "open_run", "load", "Run", "Config"} <= set(dir(semievol))
    assert all(getattr(semievol, name) for name in semievol.__all__)
