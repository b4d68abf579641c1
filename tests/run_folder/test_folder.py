"""Whose folder the output is: a run removes and replaces nothing that it has not made."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from samples import run_results, topics_config, write_topics
from semievol.cli import main
from semievol.config import dump
from semievol.errors import RunFolderError
from semievol.pipeline import run
from semievol.run_folder.folder import RunFolder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with data in `rows/`, a README and a config that writes to the folder itself."""
    rows = tmp_path / "rows"
    rows.mkdir()
    made = dump(topics_config(rows, output="."))
    (tmp_path / "README.md").write_text("# mine\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text(f"# mine\n{made}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [["run"], ["stage", "warmup"], ["evaluate"], ["check", "--no-timing"]])
def test_a_folder_of_the_users_is_refused_in_one_line_and_left_as_it_is(
    command: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(project)
    name, *rest = command
    assert main([name, *rest, "config.yaml"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("semievol: .: holds README.md, config.yaml, rows and is no run's folder; set output to")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert contents(project) == before


def test_a_run_by_its_function_refuses_it_too(project: Path) -> None:
    before = contents(project)
    with pytest.raises(RunFolderError, match="is no run's folder"):
        run(topics_config(project / "rows", output=str(project)))
    assert contents(project) == before


@pytest.mark.parametrize("name", ["notes.txt", "run.json", "logs/mine.log", "rows/labeled.csv", ".hidden"])
def test_one_file_of_somebody_elses_is_enough(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(RunFolderError, match=f"holds {Path(name).parts[0]} and is no run's folder"):
        run(topics_config(tmp_path))
    assert [each.name for each in (tmp_path / "run").rglob("*") if each.is_file()] == [path.name]


def test_an_empty_folder_is_taken_with_what_the_system_leaves_there(tmp_path: Path) -> None:
    for name in (".DS_Store", "lost+found/"):
        path = tmp_path / "run" / name
        path.mkdir(parents=True) if name.endswith("/") else path.parent.mkdir(parents=True)
        if not name.endswith("/"):
            path.touch()
    assert run(topics_config(tmp_path), until="warmup").path == tmp_path / "run"


def test_a_run_that_has_hardly_begun_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.lock():
        pass
    folder.claim()
    folder.facts_path.write_bytes(b"")  # killed between making the file and writing to it
    folder.claim()
    assert folder.facts() == {}
    assert run(topics_config(tmp_path), until="warmup").path == folder.path


def test_a_run_without_its_facts_is_known_by_its_stages(tmp_path: Path) -> None:
    run(topics_config(tmp_path))
    before = run_results(tmp_path / "run")
    (tmp_path / "run/run.json").unlink()
    run(topics_config(tmp_path))
    assert run_results(tmp_path / "run") == before


def test_files_beside_the_stored_rows_stay(tmp_path: Path) -> None:
    run(topics_config(tmp_path), until="warmup")
    rows = tmp_path / "run/rows"
    (rows / "sub").mkdir()
    mine = [rows / "notes.txt", rows / "mine.arrow", rows / "sub/labeled.csv"]
    for path in mine:
        path.write_text("mine", encoding="utf-8")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed, going = (rows / f".partial.{socket.gethostname()}.{pid}" for pid in (ended.pid, os.getppid()))
    for path in (killed, going):
        path.write_text("of a process", encoding="utf-8")
    stored = set(rows.glob("*.arrow")) - set(mine)
    write_topics(tmp_path / "test.csv", 20, seed=1)
    run(topics_config(tmp_path), until="warmup")
    assert all(path.read_text(encoding="utf-8") == "mine" for path in mine)
    assert not killed.exists()
    assert going.exists()
    now = set(rows.glob("*.arrow")) - set(mine)
    assert len(now) == len(stored) == 2
    assert now != stored  # other test rows took the place of the old ones


def test_files_of_the_users_in_a_runs_folder_outlive_every_command(tmp_path: Path) -> None:
    run(topics_config(tmp_path))
    note = tmp_path / "run/notes.txt"
    note.write_text("mine", encoding="utf-8")
    run(topics_config(tmp_path, seed=2), redo="warmup")
    assert note.read_text(encoding="utf-8") == "mine"


def test_a_refused_run_leaves_the_config_of_the_results(tmp_path: Path) -> None:
    run(topics_config(tmp_path))
    before = contents(tmp_path / "run")["config.yaml"]
    with pytest.raises(RunFolderError, match="other settings"):
        run(topics_config(tmp_path, select={"theta": 0.3}))
    assert contents(tmp_path / "run")["config.yaml"] == before


def test_an_experiment_replaces_no_results_that_are_not_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "topics.yaml").write_text(dump(topics_config(tmp_path)), encoding="utf-8")
    mine = tmp_path / "out/compare/topics/results.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    command = ["compare", str(tmp_path / "topics.yaml"), "--methods", "vanilla", "--no-search", "--out"]
    assert main([*command, str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "holds results.csv and is no experiment's folder; name another one with --out" in said
    assert said.count("\n") == 1
    assert contents(tmp_path / "out") == {"compare/topics/results.csv": b"mine"}
    for _ in range(2):
        assert main([*command, str(tmp_path / "other")]) == 0
