"""The command line as people guess it."""

import subprocess
import sys
from pathlib import Path

import pytest

from samples import topics_config
from semievol.arguments import parse
from semievol.cli import main
from semievol.config import dump
from semievol.pipeline import run
from semievol.run_folder.folder import RunFolder


@pytest.mark.parametrize(
    "line",
    [
        "run my.yaml --set select.theta=0.3 --set seed=4 --redo select",
        "run my.yaml select.theta=0.3 seed=4 --redo select",
        "run select.theta=0.3 my.yaml --redo select seed=4",
        "run -c my.yaml select.theta=0.3 --set seed=4 --redo select",
        "run --config my.yaml --redo select select.theta=0.3 seed=4",
    ],
)
def test_options_of_the_config_stand_anywhere(line: str) -> None:
    arguments = parse(line.split())
    assert (arguments.config, arguments.redo) == ("my.yaml", "select")
    assert arguments.overrides == ["select.theta=0.3", "seed=4"]


def test_a_value_of_an_option_is_none_of_the_config() -> None:
    arguments = parse(["predict", "runs/a", "--output", "a.b=c.csv", "--input", "seed=1"])
    assert (arguments.output, arguments.input, arguments.overrides) == ("a.b=c.csv", "seed=1", [])
    assert parse(["check", "my.yaml", "--no-timing", "seed=1"]).overrides == ["seed=1"]
    assert parse(["check", "my.yaml", "task.instruction=Is x=y?\nSay so."]).overrides == [
        "task.instruction=Is x=y?\nSay so."
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rnu my.yaml", "Did you mean run?"),
        ("stage selct my.yaml", "semievol stage: error: argument name: invalid choice: 'selct'"),
        ("run my.yaml --rdo select", "semievol run: error: unrecognized arguments: --rdo select. Did you mean --redo?"),
        ("check", "semievol check: error: a config file or run folder is expected"),
        ("check a.yaml -c b.yaml", "semievol check: error: two configs: a.yaml and b.yaml"),
        ("", "COMMAND"),
    ],
)
def test_a_slip_is_answered_with_the_commands_own_usage(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.startswith(f"usage: {said.partition(':')[0]}" if said.startswith("semievol ") else "usage: semievol")


def test_a_file_that_is_not_there_is_named_with_one_that_is_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tickets.yaml").write_text("seed: 1\n")
    assert main(["check", "ticket.yaml"]) == 1
    assert "did you mean tickets.yaml?" in capsys.readouterr().err
    assert main(["check", "other.yml"]) == 1
    assert f"other.yml: No such file or directory in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("predict", "export", "max-cost"))


def test_bash_takes_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_package_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "semievol", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("semievol ")


def test_env_says_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("semievol ")
    assert any(line.startswith("pyarrow ") for line in lines)
    assert any(line.startswith("Python 3.") for line in lines)


def test_runs_are_listed_with_what_came_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b/deep").mkdir(parents=True)
    run(topics_config(tmp_path / "a"))
    run(topics_config(tmp_path / "b/deep"), until="justify")
    assert main(["list", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "run" in line]
    assert "evaluate" in lines[-2]
    assert "justify" in lines[-1]
    assert main(["list", str(tmp_path / "nothing")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_report_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = topics_config(tmp_path)
    run(config)
    (tmp_path / "topics.yaml").write_text(dump(config))
    assert main(["report", str(tmp_path / "topics.yaml")]) == 0
    assert (tmp_path / "run/report.html").exists()
    assert "evolved" in capsys.readouterr().out


def test_cleaning_leaves_what_a_run_has_paid_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = topics_config(tmp_path)
    run(config)
    folder = tmp_path / "run"
    (folder / "evolve/adapter.partial/checkpoint-3").mkdir(parents=True)
    (folder / "evolve/adapter.partial/checkpoint-3/optimizer.pt").write_bytes(b"0" * 10**5)
    before = {stage.name: (stage.path / "done.json").read_bytes() for _, stage in RunFolder(folder).stages()}
    assert main(["clean", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "rows: 0.0 MB" in said
    assert "adapter.partial: 0.1 MB" in said
    assert not (folder / "rows").exists()
    run(config)
    assert {stage.name: (stage.path / "done.json").read_bytes() for _, stage in RunFolder(folder).stages()} == before
    assert main(["clean", str(tmp_path)]) == 1


def test_a_training_that_goes_on_is_not_cleaned_away(tmp_path: Path) -> None:
    run(topics_config(tmp_path), until="select")
    checkpoint = tmp_path / "run/evolve/adapter.partial/checkpoint-3"
    checkpoint.mkdir(parents=True)
    assert main(["clean", str(tmp_path / "run")]) == 0
    assert checkpoint.exists()
