"""A run folder that was moved or copied: the folder that is named is the run."""

import json
import shutil
from pathlib import Path

import pytest

from samples import run_results, topics_config, write_topics
from semievol.cli import main
from semievol.config import dump, load
from semievol.errors import ConfigError
from semievol.pipeline import run


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run, after which the run was made anew from labels that are turned round."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "topics.yaml").write_text(dump(topics_config(tmp_path, output="run")), encoding="utf-8")
    run(load("topics.yaml"))
    shutil.copytree("run", "kept")
    turned = Path("labeled.csv").read_text(encoding="utf-8").replace("weather", "w").replace("money", "weather")
    Path("labeled.csv").write_text(turned.replace(",w\n", ",money\n"), encoding="utf-8")
    run(load("topics.yaml"), redo="warmup")
    return Path("kept")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("named", ["kept", "kept/", "kept/config.yaml", "./kept"])
def test_the_folder_that_is_named_is_the_run(named: str, kept: Path) -> None:
    assert Path(load(named).output) == kept
    assert load(named, ["output=elsewhere"]).output == "elsewhere"
    assert load("topics.yaml").output == "run"


def test_a_copied_run_answers_with_its_own_weights(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_topics(Path("new.csv"), 30, seed=5, answers=False)
    said = {}
    for folder in ("run", "kept"):
        assert main(["predict", folder, "--input", "new.csv"]) == 0
        said[folder] = [json.loads(line)["answer"] for line in capsys.readouterr().out.splitlines()]
    assert said["run"] != said["kept"]


def test_a_moved_run_is_measured_and_made_anew_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(topics_config(tmp_path, output="run"))
    before = run_results(Path("run"))
    Path("run").rename("kept")
    for command in (["evaluate", "kept"], ["run", "kept"], ["stage", "select", "kept"], ["status", "kept"]):
        assert main(command) == 0
        assert not Path("run").exists()
        assert run_results(Path("kept")) == before
    assert main(["evaluate", "kept", "--redo", "evaluate"]) == 0
    assert not Path("run").exists()
    assert load("kept/config.yaml").output == "kept"


def test_a_folder_that_is_no_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: no config file, and no run's folder"):
        load(tmp_path)
    assert main(["run", str(tmp_path)]) == 1
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err.count("\n") == 1


def test_a_config_beside_other_files_is_a_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("output: runs/one\n", encoding="utf-8")
    assert load(tmp_path / "config.yaml").output == "runs/one"
