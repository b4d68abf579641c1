"""The program as a user calls it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from samples import topics_config, write_topics
from semievol.cli import main
from semievol.config import build, dump


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "topics.yaml"
    path.write_text(dump(topics_config(tmp_path)), encoding="utf-8")
    return path


def call(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "semievol.cli", *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_loads_nothing_heavy_and_names_every_command() -> None:
    code = "import sys, semievol.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for command in ("init", "check", "run", "stage", "status", "evaluate", "predict", "config"):
        assert f"\n    {command} " in printed
    heavy = {"torch", "transformers", "pyarrow", "numpy", "pydantic", "datasets", "rich"}
    assert heavy.isdisjoint(printed.splitlines()[-1].split())


def test_help_answers_within_half_a_second() -> None:
    fastest = float("inf")
    for _ in range(5):
        started = time.monotonic()
        assert call("--help").returncode == 0
        fastest = min(fastest, time.monotonic() - started)
    assert fastest < 0.5


def test_check_says_what_was_found_and_what_the_run_will_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "labeled answers:" in printed
    for stage in ("warmup", "collaborate", "justify", "evolve", "evaluate"):
        assert stage in printed
    assert "160" in printed  # 40 unlabeled rows, 4 collaborators
    assert not (config.parent / "run").exists()


def test_run_ends_with_a_table_and_the_places(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(config)]) == 0
    printed = capsys.readouterr().out
    for words in ("vanilla", "SFT", "SemiEvol", "evolved adapter:", "run folder:"):
        assert words in printed
    for name in ("report.html", "README.md", "config.yaml", "run.json", "logs/run.log"):
        assert (config.parent / "run" / name).stat().st_size > 0


def test_set_overrides_the_file(config: Path) -> None:
    assert main(["run", str(config), "--set", "select.theta=0.3", "--set", "collaborate.n=2"]) == 0
    key = json.loads((config.parent / "run/select/key.json").read_text())
    assert key["select"]["theta"] == 0.3
    assert len(json.loads((config.parent / "run/collaborate/key.json").read_text())["collaborators"]) == 2


def test_stage_runs_what_comes_before_and_nothing_after(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stage", "select", str(config)]) == 0
    assert (config.parent / "run/select/done.json").exists()
    assert not (config.parent / "run/evolve").exists()
    assert "not begun" in capsys.readouterr().out


def test_status_shows_every_stage(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(config)]) == 1
    assert "no run here yet" in capsys.readouterr().err
    main(["run", str(config)])
    capsys.readouterr()
    assert main(["status", str(config.parent / "run")]) == 0
    assert capsys.readouterr().out.count("done") >= 6


def test_predict_answers_a_file_with_confidence(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", str(config)])
    capsys.readouterr()
    write_topics(config.parent / "new.csv", 5, seed=5, answers=False)
    out = config.parent / "answers.jsonl"
    assert main(["predict", str(config), "--input", str(config.parent / "new.csv"), "--output", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"input-{i}" for i in range(5)]
    assert all(row["answer"] in ("weather", "sport", "money") and 0 < row["probability"] <= 1 for row in rows)


def test_predict_reads_lines_and_json_lines_from_standard_input(config: Path) -> None:
    main(["run", str(config)])
    texts = ["rain snow storm", "goal match team", "bank loan profit"]
    (config.parent / "new.csv").write_text("text\n" + "\n".join(texts), encoding="utf-8")
    from_file = call("predict", str(config), "--input", str(config.parent / "new.csv"))
    assert len(from_file.stdout.splitlines()) == 3
    lines = "\n".join(texts) + "\n"
    json_lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    for given in (lines, json_lines):
        done = call("predict", str(config), input=given)
        assert done.returncode == 0, done.stderr
        assert done.stdout == from_file.stdout


def test_predict_before_the_run_says_what_to_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_topics(config.parent / "new.csv", 2, seed=5, answers=False)
    assert main(["predict", str(config), "--input", str(config.parent / "new.csv")]) == 1
    assert "no evolved model yet; semievol run makes it" in capsys.readouterr().err


def test_config_show_check_and_schema(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", str(config), "--set", "seed=7"]) == 0
    assert "seed: 7" in capsys.readouterr().out
    assert main(["config", "check", str(config)]) == 0
    assert "no errors" in capsys.readouterr().out
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["select"]
    assert main(["config", "check", str(config), "--set", "selct.theta=1"]) == 1
    assert "did you mean select?" in capsys.readouterr().err


def test_init_then_check_names_the_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine.yaml"]) == 0
    assert main(["check", "mine.yaml"]) == 1
    error = capsys.readouterr().err
    assert "labeled.csv" in error
    assert "Traceback" not in error


def test_a_user_error_is_one_message_without_a_traceback(config: Path) -> None:
    (config.parent / "labeled.csv").write_text("text,topic\n", encoding="utf-8")
    done = call("run", str(config))
    assert done.returncode == 1
    assert done.stderr.startswith("semievol: ")
    assert "Traceback" not in done.stderr
    assert not (config.parent / "run" / "warmup").exists()


def test_a_full_disk_is_said_in_words_and_loses_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    import pyarrow.parquet as pq

    write, written = pq.ParquetWriter.write_table, []

    def disk_full(writer, table):
        written.append(table)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, table)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", disk_full)
    assert main(["run", str(config)]) == 1
    assert "the disk is full; nothing finished is lost" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["run", str(config)]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_saves_and_the_same_command_goes_on(config: Path, number: signal.Signals) -> None:
    slow = build({**topics_config(config.parent).model_dump(), "backend": {"kind": "faulty:SlowBackend"}})
    config.write_text(dump(slow), encoding="utf-8")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, "-m", "semievol.cli", "run", str(config)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    journals = config.parent / "run" / "collaborate"
    deadline = time.monotonic() + 60
    while not any(journals.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in error
    assert any(journals.glob("part-*"))
    done = call("run", str(config), env={**environment, "QUICK": "1"})
    assert done.returncode == 0, done.stderr
