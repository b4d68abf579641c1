"""Whole runs against a service: to the end, without log-probabilities, and killed in between."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from samples import topics_config
from semievol.config import Config, dump
from semievol.errors import BackendError
from semievol.forecast.check import check
from semievol.pipeline import run
from semievol.report import finish
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_rows
from service import Service, random_faults
from service.faults import no_faults

RUN = "import sys, semievol; semievol.run(semievol.load(sys.argv[1]))"
CREW = {"collaborators": [{"weights": "warm"}, {"weights": "warm", "examples": 1}, {"weights": "base"}]}


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


def config(folder: Path, service: Service, options: dict[str, Any] | None = None, **sections: Any) -> Config:
    quick = {"base_url": service.url, "retry_wait": 0.001, "max_concurrency": 8, "timeout": 5, **(options or {})}
    backend = {"kind": "openai", "service": quick}
    folder.mkdir(exist_ok=True)
    return topics_config(folder, **{"backend": backend, "model": {"name": "base"}, "collaborate": CREW, **sections})


def selection(made: Config) -> list[dict[str, Any]]:
    return read_rows(RunFolder(made.output).stage("select").rows_path)


def test_a_run_goes_through_all_stages_to_the_report(tmp_path: Path, service: Service) -> None:
    service.faults = random_faults(0.2, ("429", "500", "drop", "truncated"))
    made = config(tmp_path, service, evaluate={"unlabeled_answers": "topic"})
    result = run(made)
    finish(result.path)
    assert result.metrics is not None
    assert result.metrics["models"]["warm"]["accuracy"] > result.metrics["models"]["base"]["accuracy"]
    assert (result.path / "report.html").stat().st_size > 10_000
    assert set(service.log.answered.values()) == {1}


def test_h_is_taken_from_what_the_warm_model_said_and_else_asked_for(tmp_path: Path, service: Service) -> None:
    made = config(tmp_path, service)
    run(made, until="select")
    rows = [row for row in selection(made) if row["answer"] is not None]
    by_source = Counter((row["h_from"] or "").partition(":")[0] for row in rows)
    assert by_source["collaborator"] > 10
    assert by_source["asked"] > 0
    assert by_source["scored"] == 0
    for row in rows:
        if row["h_from"] == "collaborator":
            assert row["mean_nll"] == row["candidates"][0]["mean_nll"]
            assert row["candidates"][0]["text"] == row["response"]
        elif row["mean_nll"] is None:
            assert not row["kept"]
            assert row["reason"].startswith("H unknown: the model says something else when asked")


def test_h_of_a_service_is_that_of_an_engine_that_scores(tmp_path: Path, service: Service) -> None:
    made = config(tmp_path / "service", service, collaborate={**CREW, "temperature": 0})
    local = topics_config(tmp_path / "service", output=str(tmp_path / "local"), collaborate={**CREW, "temperature": 0})
    for each in (made, local):
        run(each, until="justify")
    asked, scored = (
        {row["id"]: row["mean_nll"] for row in RunFolder(each.output).stage("justify").shards.rows()}
        for each in (made, local)
    )
    known = [id_ for id_, h in asked.items() if h is not None]
    assert len(known) > 30
    assert all(asked[id_] == pytest.approx(scored[id_]) for id_ in known)


def test_without_log_probabilities_rows_are_kept_by_agreement(tmp_path: Path, service: Service) -> None:
    service.chat.unsupported = {"logprobs": "logprobs are not supported by this model"}
    made = config(tmp_path, service)
    result = run(made)
    rows = selection(made)
    assert any(row["kept"] for row in rows)
    assert all("agreement" in row["reason"] or row["reason"] == "no answer" for row in rows)
    assert RunFolder(made.output).stage("select").summary()["criterion"] == "agreement"
    assert not any(id_ for id_ in service.log.answered if '"logprobs"' in id_)
    finish(result.path)
    assert "kept by the agreement of the collaborators" in (result.path / "report.html").read_text(encoding="utf-8")


def test_without_log_probabilities_nothing_more_is_spent_where_h_is_asked_for(tmp_path: Path, service: Service) -> None:
    service.chat.unsupported = {"logprobs": "logprobs are not supported by this model"}
    with pytest.raises(BackendError, match="gives no log-probabilities"):
        run(config(tmp_path, service, select={"criterion": "nll"}))
    assert service.log.answered.total() == 0


def test_a_check_asks_the_service_nothing_and_says_what_rows_are_kept_by(tmp_path: Path, service: Service) -> None:
    notes = check(config(tmp_path, service)).plan.notes
    assert any("by H, or by agreement if" in note for note in notes)
    without = check(config(tmp_path, service, {"logprobs": False})).plan.notes
    assert any("kept by agreement: backend.service.logprobs is false" in note for note in without)
    assert service.log.asked.total() == 0


def test_failed_requests_are_asked_again_by_the_next_run_and_nothing_else_is(tmp_path: Path, service: Service) -> None:
    made = config(tmp_path / "one", service, {"max_retries": 1})
    run(made)
    undisturbed = selection(made)
    with Service(faults=random_faults(0.3, ("500",), most=2)) as other:  # every ninth or so fails twice
        options = {"max_retries": 1, "base_url": other.url}
        made = config(tmp_path / "two", other, options)
        run(made)
        failed = [reason for _, stage in RunFolder(made.output).stages() for reason, _ in stage.failures()]
        assert failed
        other.faults = no_faults  # questions that have changed are new to the service, and would fail anew
        run(made)
        assert not [1 for _, stage in RunFolder(made.output).stages() for _ in stage.failures()]
        twice = {asked for asked, count in other.log.answered.items() if count > 1}
        assert all("run/evolve/adapter" in asked or "Say yes." in asked for asked in twice)  # another model by then
    strip = ("mean_nll", "reason", "kept", "candidates")
    assert [{k: v for k, v in row.items() if k not in strip} for row in selection(made)] == [
        {k: v for k, v in row.items() if k not in strip} for row in undisturbed
    ]


def started(made: Config, folder: Path) -> "subprocess.Popen[bytes]":
    path = folder / "config.yaml"
    path.write_text(dump(made), encoding="utf-8")
    return subprocess.Popen([sys.executable, "-c", RUN, str(path)], stderr=subprocess.PIPE)


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def journaled(folder: Path) -> set[str]:
    lines = [line for path in folder.rglob("part-*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]]
    return {json.loads(line)["id"] for line in lines}


def test_killed_between_requests_nothing_that_was_answered_is_asked_again(tmp_path: Path, service: Service) -> None:
    service.delay = 0.02
    made = config(tmp_path, service, executor={"shard_rows": 256})
    process = started(made, tmp_path)
    wait_for(lambda: service.log.answered.total() >= 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = journaled(tmp_path / "run")
    assert len(kept) >= 30
    sent = service.log.asked.total()
    service.delay = 0
    run(made)
    twice = [count for count in service.log.asked.values() if count > 1]
    assert len(twice) <= sent - len(kept) <= 8 + 60 - 30  # those whose answers were not on disk yet
    assert max(service.log.asked.values()) <= 2


def test_killed_while_a_batch_is_waited_for_it_is_not_sent_again(tmp_path: Path, service: Service) -> None:
    service.batches.waiting = True
    made = config(tmp_path, service, {"mode": "batch"})
    process = started(made, tmp_path)
    wait_for(lambda: len(service.batches.made) == 2)  # one for each model
    wait_for(lambda: service.log.paths["GET /v1/batches"] > 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list((tmp_path / "run" / "jobs").glob("*.json"))) == 2
    service.batches.waiting = False
    uploads = service.files.uploads
    run(made, until="collaborate")
    assert service.files.uploads == uploads
    assert set(service.log.answered.values()) == {1}
    assert not list((tmp_path / "run" / "jobs").glob("*.json"))


def test_ctrl_c_saves_what_is_in_flight(tmp_path: Path, service: Service) -> None:
    service.delay = 0.05
    path = tmp_path / "config.yaml"
    path.write_text(dump(config(tmp_path, service)), encoding="utf-8")
    command = [sys.executable, "-m", "semievol.cli", "run", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ))
    wait_for(lambda: service.log.answered.total() >= 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    stage = tmp_path / "run" / "collaborate"
    finished = sum(len(read_rows(path)) for path in stage.glob("part-*.parquet")) * 3
    assert len(journaled(stage)) + finished == service.log.answered.total()
