"""New rows and a run's model, as a user has them."""

import csv
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from samples import TOPICS, topics_config, write_topics
from semievol.cli import main
from semievol.config import dump, load
from semievol.pipeline import run
from service import Service

COUNTED = {"backend": {"kind": "faulty:CountingBackend"}}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished run, with 30 new rows in `new.csv` beside it."""
    monkeypatch.chdir(tmp_path)
    run(topics_config(tmp_path, output="run"))
    write_topics(Path("new.csv"), 30, seed=5)
    return Path("run")


def predicted(*arguments: str, output: str = "out.jsonl") -> list[dict]:
    assert main(["predict", "run", "--input", "new.csv", "--output", output, *arguments]) == 0
    return [json.loads(line) for line in Path(output).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_the_input_is_never_the_output(made: Path, capsys: pytest.CaptureFixture[str], link: str | None) -> None:
    before = Path("new.csv").read_bytes()
    if link is not None:
        getattr(Path("out.csv"), link)("new.csv" if link == "symlink_to" else Path("new.csv"))
    output = "out.csv" if link else "./new.csv"
    assert main(["predict", "run", "--input", "new.csv", "--output", output]) == 1
    assert "is the input, which would be lost" in capsys.readouterr().err
    assert Path("new.csv").read_bytes() == before


@pytest.mark.parametrize("given", ["*.csv", "./$HERE/new.csv"])
def test_no_part_of_the_input_is_the_output(
    made: Path, given: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", ".")
    before = Path("new.csv").read_bytes()
    assert main(["predict", "run", "--input", given, "--output", "new.csv"]) == 1
    assert "is the input, which would be lost" in capsys.readouterr().err
    assert Path("new.csv").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--input", "none.csv"],
        ["run", "--input", "empty.csv"],
        ["run", "--input", "other.csv"],
        ["nowhere.yaml", "--input", "new.csv"],
        ["unfinished.yaml", "--input", "new.csv"],
    ],
)
def test_an_earlier_result_stands_until_the_new_one_does(made: Path, arguments: list[str]) -> None:
    Path("empty.csv").write_text("text,topic\n")
    Path("other.csv").write_text("words\nrain\n")
    Path("unfinished.yaml").write_text(dump(topics_config(Path.cwd(), output="unfinished")), encoding="utf-8")
    Path("out.jsonl").write_text("earlier")
    assert main(["predict", *arguments, "--output", "out.jsonl"]) == 1
    assert Path("out.jsonl").read_text() == "earlier"
    assert not Path("unfinished").exists()


def test_the_training_data_is_not_needed(made: Path) -> None:
    first = predicted()
    for name in ("labeled", "unlabeled", "test"):
        Path(f"{name}.csv").unlink()
    assert predicted(output="again.jsonl") == first


def test_a_run_of_an_earlier_version_reads_the_training_data(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = predicted()
    (made / "task.json").unlink()
    assert predicted(output="again.jsonl") == first
    Path("labeled.csv").unlink()
    assert main(["predict", "run", "--input", "new.csv", "--output", "third.jsonl"]) == 1
    assert "labeled.csv" in capsys.readouterr().err


def test_a_refused_run_leaves_the_task_that_the_weights_were_trained_on(made: Path) -> None:
    first = predicted()
    renamed = Path("labeled.csv").read_text(encoding="utf-8").replace("sport", "games")
    Path("labeled.csv").write_text(renamed, encoding="utf-8")
    Path("test.csv").write_text(Path("test.csv").read_text(encoding="utf-8").replace("sport", "games"))
    assert main(["run", "run"]) == 1
    assert predicted(output="again.jsonl") == first


def test_every_row_is_answered_or_says_why_not(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.csv").write_text("text\nrain snow wind storm\n   \ngoal match team coach\n", encoding="utf-8")
    rows = predicted()
    assert [row["id"] for row in rows] == ["input-0", "input-1", "input-2"]
    assert [row["error"] for row in rows] == [None, "the prompt is empty", None]
    assert [row["answer"] in TOPICS for row in rows] == [True, False, True]
    assert "2 of 3 rows answered, 1 rows failed: see 'error'" in capsys.readouterr().err


def test_ids_may_repeat_be_missing_or_be_those_of_labeled_rows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_topics(Path("labeled.csv"), 12, seed=12)
    lines = Path("labeled.csv").read_text(encoding="utf-8").splitlines()
    header = f"key,{lines[0]}\n"
    for name in ("labeled", "unlabeled", "test"):
        body = [f"{name}-{at},{name} {line}" for at, line in enumerate(lines[1:])]
        Path(f"{name}.csv").write_text(header + "\n".join(body), encoding="utf-8")
    columns = {"prompt": "text", "answer": "topic", "id": "key"}
    run(topics_config(tmp_path, output="run", data={"columns": columns}))
    Path("new.csv").write_text("key,text\nlabeled-0,rain snow\nlabeled-0,goal match\n,bank loan\n", encoding="utf-8")
    assert [row["id"] for row in predicted()] == ["labeled-0", "labeled-0", "input-2"]
    Path("new.csv").write_text("text\nrain snow\n", encoding="utf-8")
    assert [row["id"] for row in predicted()] == ["input-0"]


def test_the_users_columns_come_out_as_they_went_in(made: Path) -> None:
    Path("new.csv").write_text(
        'n,text,answer,note\n007,rain snow,gold,"a, ""b"""\n1.0,goal match,,\n', encoding="utf-8"
    )
    predicted_to("out.csv")
    with Path("out.csv").open(newline="", encoding="utf-8") as handle:
        first, second = csv.DictReader(handle)
    assert list(first)[:4] == ["n", "text", "answer", "note"]
    assert (first["n"], first["answer"], first["note"]) == ("007", "gold", 'a, "b"')
    assert {first["predicted_answer"], second["predicted_answer"]} <= set(TOPICS)
    assert 0 < float(first["probability"]) <= 1


def predicted_to(output: str, source: str = "new.csv") -> None:
    assert main(["predict", "run", "--input", source, "--output", output]) == 0


def test_a_column_that_only_late_rows_have_comes_out_too(made: Path) -> None:
    late = [{"text": "rain"}] * 120 + [{"text": "snow", "note": "late"}]
    Path("late.jsonl").write_text("".join(json.dumps(row) + "\n" for row in late), encoding="utf-8")
    assert predicted("--input", "late.jsonl")[-1]["note"] == "late"


def test_columns_of_parquet_keep_their_types(made: Path) -> None:
    table = {"text": ["rain snow"], "when": [datetime.date(2026, 1, 2)], "tags": [["a", "b"]], "count": [7]}
    pq.write_table(pa.table(table), "new.parquet")
    predicted_to("out.parquet", "new.parquet")
    found = pq.read_table("out.parquet")
    for name in table:
        assert found.schema.field(name).type == pa.table(table).schema.field(name).type
    assert found.select(list(table)).to_pydict() == table
    predicted_to("out.jsonl", "new.parquet")
    (row,) = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert (row["when"], row["tags"], row["count"]) == ("2026-01-02", ["a", "b"], 7)
    assert row["answer"] in TOPICS


def counted(made: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "semievol.cli", "predict", "run", "-i", "new.csv", "-o", "out.jsonl"]
    command += ["--set", "backend.kind=faulty:CountingBackend"]
    path = os.pathsep.join(sys.path)
    given = {**os.environ, "PYTHONPATH": path, "ASKED": "asked.txt", **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def test_a_killed_call_goes_on_where_it_was_and_asks_nothing_twice(made: Path) -> None:
    assert counted(made, KILL_AT="11").returncode == -signal.SIGKILL
    assert not Path("out.jsonl").exists()
    with Path("out.jsonl.partial/answers.jsonl").open("ab") as torn:
        torn.write(b'{"id": "3')
    done = counted(made)
    assert done.returncode == 0, done.stderr
    assert len(Path("asked.txt").read_text().splitlines()) == 30
    assert len(Path("out.jsonl").read_text().splitlines()) == 30
    assert not Path("out.jsonl.partial").exists()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_call_that_is_stopped_saves_what_it_has(made: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-m", "semievol.cli", "predict", "run", "-i", "new.csv", "-o", "out.jsonl"]
    command += ["--set", "backend.kind=faulty:SlowBackend"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    answers = Path("out.jsonl.partial/answers.jsonl")
    while not (answers.exists() and answers.read_bytes()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(sent)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert answers.read_bytes().count(b"\n") >= 1
    assert subprocess.run(command, env={**environment, "QUICK": "1"}, check=True, capture_output=True).returncode == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 30


def test_answers_to_other_rows_are_not_taken_for_these(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted(made, KILL_AT="11")
    write_topics(Path("new.csv"), 30, seed=6)
    assert main(["predict", "run", "-i", "new.csv", "-o", "out.jsonl"]) == 1
    said = capsys.readouterr().err
    assert "out.jsonl.partial holds answers to other rows, or of another model" in said
    assert "lose them" in said
    assert len(Path("out.jsonl.partial/answers.jsonl").read_text().splitlines()) == 11


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_asked(made: Path, capsys) -> None:
    Path("folder").mkdir()
    for output, said in (("folder", "is a folder"), ("no/such/out.jsonl", "there is no folder no/such")):
        assert main(["predict", "run", "-i", "new.csv", "-o", output]) == 1
        assert said in capsys.readouterr().err


def test_a_limit_of_dollars_stops_it_and_more_dollars_go_on(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with Service() as service:
        backend = {"kind": "openai", "service": {"base_url": service.url, "retry_wait": 0.001, "max_concurrency": 1}}
        prices = {"input": 1.0, "output": 1.0, "tuned_input": 1.0, "tuned_output": 1.0}
        sections = {"backend": backend, "model": {"name": "base"}, "costs": {"prices": prices}}
        config = topics_config(tmp_path, output="run", **sections)
        run(config)
        write_topics(Path("new.csv"), 30, seed=5)
        spent = json.loads(Path("run/run.json").read_text())["costs"]["dollars"]
        call = ["predict", "run", "-i", "new.csv", "-o", "out.jsonl", "--set"]
        assert main([*call, f"costs.max_cost={spent + 0.0003}"]) == 1
        assert "costs.max_cost" in capsys.readouterr().err
        kept = len(Path("out.jsonl.partial/answers.jsonl").read_text().splitlines())
        assert 0 < kept < 30
        before = sum(service.log.answered.values())
        assert main([*call, "costs.max_cost=1"]) == 0
        assert sum(service.log.answered.values()) - before == 30 - kept
    assert len(Path("out.jsonl").read_text().splitlines()) == 30


def test_the_adapter_of_the_run_that_is_named_answers_and_no_other(made: Path) -> None:
    first = predicted()
    Path("run").rename("kept")
    config = load("kept")
    assert config.output == "kept"
    assert main(["predict", "kept", "-i", "new.csv", "-o", "again.jsonl"]) == 0
    assert [json.loads(line) for line in Path("again.jsonl").read_text().splitlines()] == first
