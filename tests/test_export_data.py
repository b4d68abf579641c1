"""The rows that trained a model, in the forms of other tools, and their way to the hub."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from samples import topics_config
from semievol import cli
from semievol.config import Config, build, changed
from semievol.data import load
from semievol.errors import ConfigError, ExportError
from semievol.pipeline import run
from semievol.predict.hub import push
from semievol.predict.training_data import FORMS, write_training_data
from semievol.run_folder.parquet import read_rows

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = topics_config(tmp_path)
    run(config)
    return config


def written(config: Config, form: str, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    output = folder / "train.jsonl"
    write_training_data(config, load(config), form, output)
    text = output.read_text(encoding="utf-8")
    rows = json.loads(text) if form in ("label-studio", "argilla") else [json.loads(line) for line in text.splitlines()]
    return rows, [json.loads(line) for line in (folder / "train.jsonl.about.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("form", FORMS)
def test_each_row_of_the_training_is_there_with_what_is_known_of_it(config: Config, tmp_path: Path, form: str) -> None:
    rows, about = written(config, form, tmp_path)
    fates = read_rows(Path(config.output) / "select/pseudo_labels.parquet")
    kept = [fate for fate in fates if fate["kept"]]
    assert len(rows) == len(about) == 12 + len(kept)
    assert [fate["source"] for fate in about] == ["labeled"] * 12 + ["pseudo"] * len(kept)
    for said, fate in zip(about[12:], kept, strict=True):
        assert said["id"] == fate["id"]
        assert (said["answer"], said["weight"], said["mean_nll"]) == (fate["answer"], fate["weight"], fate["mean_nll"])


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("chat", {"layout": "messages"}),
        ("prompt-completion", {"layout": "prompt_completion"}),
        ("alpaca", {"layout": "alpaca"}),
    ],
)
def test_what_is_written_is_read_again_as_it_was(
    config: Config, tmp_path: Path, form: str, options: dict[str, str]
) -> None:
    written(config, form, tmp_path)
    again = build(
        {"data": {"labeled": str(tmp_path / "train.jsonl"), "unlabeled": None, **options}, "task": {"kind": "label"}}
    )
    first = load(config).labeled[0]
    back = load(again).labeled
    assert back[0].answer == first.answer
    assert first.prompt in back[0].prompt
    assert len(back) > 12


def test_a_person_sees_predictions_apart_from_labels(config: Config, tmp_path: Path) -> None:
    rows, about = written(config, "label-studio", tmp_path)
    assert all("annotations" in row and "predictions" not in row for row in rows[:12])
    assert all("predictions" in row and "annotations" not in row for row in rows[12:])
    result = rows[12]["predictions"][0]["result"][0]
    assert result["value"]["choices"] == [about[12]["answer"]]


@pytest.mark.parametrize("form", ["label-studio", "argilla"])
def test_a_set_of_labels_is_a_choice_for_each(form: str, tmp_path: Path) -> None:
    for name, rows in {"labeled": ["quiet, clean", "cheap", "none", "clean"], "unlabeled": ["", ""]}.items():
        lines = [f'"the room was {n} {name}","{answer}"' for n, answer in enumerate(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,topic", *lines]) + "\n")
    config = topics_config(tmp_path, task={"kind": "labels"}, select={"enabled": False})
    config = changed(config, {"data": {"test": None}})
    run(config, until="select")
    rows, _ = written(config, form, tmp_path)
    if form == "argilla":
        assert [row["suggestions"]["label"]["value"] for row in rows[:4]] == [
            ["clean", "quiet"],
            ["cheap"],
            [],
            ["clean"],
        ]
        return
    choices = [row["annotations"][0]["result"][0]["value"]["choices"] for row in rows[:4]]
    assert choices == [["clean", "quiet"], ["cheap"], [], ["clean"]]


def test_argilla_gets_suggestions_to_a_question(config: Config, tmp_path: Path) -> None:
    rows, about = written(config, "argilla", tmp_path)
    for row, fate in zip(rows, about, strict=True):
        assert row["suggestions"]["label"]["value"] == fate["answer"]
        assert row["suggestions"]["label"]["agent"] == ("labeled" if fate["source"] == "labeled" else "semievol")
        assert row["fields"].keys() == {"text"}


def test_without_labeled_rows_in_the_training_none_are_written(config: Config, tmp_path: Path) -> None:
    alone = changed(config, {"evolve": {"include_labeled": False}})
    _, about = written(alone, "chat", tmp_path)
    assert {row["source"] for row in about} == {"pseudo"}


def test_a_run_that_has_not_selected_has_no_rows_yet(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config, until="justify")
    with pytest.raises(ConfigError, match="semievol stage select"):
        write_training_data(config, load(config), "chat", tmp_path / "train.jsonl")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hub's own interface, of which nothing is sent."""
    api = create_autospec(huggingface_hub.HfApi, instance=True)
    api.create_repo.return_value = "https://huggingface.co/me/mine"
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    return api


def test_a_model_is_uploaded_for_its_owners_eyes(config: Config, tmp_path: Path, hub: Any, capsys: Any) -> None:
    output = tmp_path / "model"
    assert cli.main(["export", config.output, "-o", str(output), "--push", "me/mine"]) == 0
    assert "https://huggingface.co/me/mine" in capsys.readouterr().out
    hub.create_repo.assert_called_once_with("me/mine", repo_type="model", private=True, exist_ok=True)
    assert hub.upload_folder.call_args.kwargs["folder_path"] == output


def test_data_is_uploaded_with_what_is_known_of_it(config: Config, tmp_path: Path, hub: Any) -> None:
    output = tmp_path / "train.jsonl"
    command = ["export", config.output, "--data", "chat", "-o", str(output), "--push", "me/mine", "--public"]
    assert cli.main(command) == 0
    hub.create_repo.assert_called_once_with("me/mine", repo_type="dataset", private=False, exist_ok=True)
    names = [call.kwargs["path_in_repo"] for call in hub.upload_file.call_args_list]
    assert names == ["train.jsonl", "train.jsonl.about.jsonl"]


def test_a_hub_that_refuses_is_one_line(tmp_path: Path, hub: Any) -> None:
    hub.create_repo.side_effect = OSError("no route to huggingface.co\nand more")
    with pytest.raises(ExportError, match=r"no route to huggingface.co; `hf auth login`"):
        push(tmp_path, "me/mine")
