"""Shards with several workers on one machine: the bytes of the inline executor, whatever dies."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from executors.pools import ROWS, SHARD_ROWS, config_of, lines, order
from processes import exists, soon
from samples import run_results
from semievol import cli
from semievol.config import changed, dump
from semievol.errors import ClusterError, ConfigError, Stopped
from semievol.executors import open_executor
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.run_folder.folder import RunFolder

ON_RAY = pytest.mark.ray


@pytest.fixture(params=["processes", pytest.param("ray", marks=ON_RAY)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return str(request.param)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_bytes_of_the_inline_executor(
    workers: int, kind: str, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    run(config_of(tmp_path, kind, workers=workers))
    assert run_results(tmp_path / "run") == expected
    engines = {process for process in lines(tmp_path / "opened.txt") if process != str(os.getpid())}
    assert len(engines) >= workers
    assert str(os.getpid()) not in lines(tmp_path / "opened.txt")


def test_an_engine_stays_open_from_one_stage_to_the_next(kind: str, tmp_path: Path) -> None:
    run(config_of(tmp_path, kind, workers=1), until="select")
    assert len(lines(tmp_path / "opened.txt")) == 1


@ON_RAY
@pytest.mark.usefixtures("cluster")
def test_workers_that_are_not_kept_are_hired_again_for_the_next_stage(tmp_path: Path) -> None:
    run(config_of(tmp_path, workers=1, min_workers=0), until="select")
    assert len(lines(tmp_path / "opened.txt")) == 2


def test_a_killed_worker_costs_nothing_that_was_answered(kind: str, tmp_path: Path, expected: dict[str, bytes]) -> None:
    config = config_of(tmp_path, kind)
    deadly = order(tmp_path, "die-once", "unlabeled-6/warm+1")
    run(config)
    assert not deadly.exists()
    assert run_results(tmp_path / "run") == expected
    assert set(Counter(lines(tmp_path / "asked.txt")).values()) == {1}


def test_a_poisoned_shard_is_tried_so_often_and_set_aside_with_its_error(
    kind: str, tmp_path: Path, expected: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, kind, max_attempts=2)
    poison = order(tmp_path, "raise", "unlabeled-9/base+0")
    file = tmp_path / "config.yaml"
    file.write_text(dump(config), encoding="utf-8")
    assert cli.main(["run", str(file)]) == 1
    said = capsys.readouterr().err
    assert "collaborate: 1 of 10 shards failed" in said
    assert "part-00002.error.txt (tried 2 times): ValueError: unlabeled-9/base+0 is poison" in said
    stage = RunFolder(config.output).stage("collaborate")
    assert [path.name for path in stage.shards.parts()] == [f"part-{n:05d}.parquet" for n in range(10) if n != 2]
    assert "is poison" in (stage.path / "part-00002.error.txt").read_text()
    assert cli.main(["status", str(config.output)]) == 0
    assert "part-00002" in capsys.readouterr().out

    poison.unlink()
    assert cli.main(["run", str(file)]) == 0
    assert run_results(tmp_path / "run") == expected
    assert not stage.shards.errors()


def test_a_shard_that_kills_its_workers_is_set_aside_too(kind: str, tmp_path: Path) -> None:
    order(tmp_path, "die", "unlabeled-9/base+0")
    with pytest.raises(ClusterError, match=r"part-00002.error.txt \(tried 2 times\): the worker died"):
        run(config_of(tmp_path, kind, max_attempts=2))
    assert len(RunFolder(tmp_path / "run").stage("collaborate").shards.parts()) == 9


def test_where_every_shard_fails_not_all_are_tried(kind: str, tmp_path: Path) -> None:
    order(tmp_path, "raise")
    with pytest.raises(ClusterError, match="shards failed"):
        run(config_of(tmp_path, kind, max_attempts=1))
    assert len(RunFolder(tmp_path / "run").stage("collaborate").shards.errors()) < ROWS // SHARD_ROWS


def test_an_error_that_is_the_users_to_mend_ends_the_run_at_once(kind: str, tmp_path: Path) -> None:
    order(tmp_path, "refuse")
    with pytest.raises(ConfigError, match="an option that cannot be"):
        run(config_of(tmp_path, kind))
    assert len(lines(tmp_path / "opened.txt")) <= 2


def test_a_stopped_run_keeps_what_it_has_and_goes_on(kind: str, tmp_path: Path, expected: dict[str, bytes]) -> None:
    slow = order(tmp_path, "slow")
    reporter = Reporter()
    timer = threading.Thread(target=lambda: _stop_when_asked(tmp_path, reporter))
    timer.start()
    with pytest.raises(Stopped):
        run(config_of(tmp_path, kind), reporter=reporter)
    timer.join()
    asked = lines(tmp_path / "asked.txt")
    assert 20 <= len(asked) < 4 * ROWS
    slow.unlink()
    run(config_of(tmp_path, kind))
    assert run_results(tmp_path / "run") == expected
    assert set(Counter(lines(tmp_path / "asked.txt")).values()) == {1}


def _stop_when_asked(folder: Path, reporter: Reporter) -> None:
    soon(lambda: len(lines(folder / "asked.txt")) >= 20, seconds=60)
    reporter.stopping = True


def test_a_killed_driver_started_again_goes_on(
    kind: str, tmp_path: Path, expected: dict[str, bytes], request: pytest.FixtureRequest
) -> None:
    address = {"address": request.getfixturevalue("cluster")} if kind == "ray" else {}
    config = config_of(tmp_path, kind, **address)
    slow = order(tmp_path, "slow")
    file = tmp_path / "config.yaml"
    file.write_text(dump(config), encoding="utf-8")
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "semievol.cli", "run", str(file)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        assert soon(lambda: len(lines(tmp_path / "asked.txt")) >= 30, seconds=60)
        driver.send_signal(signal.SIGKILL)
    if kind == "processes":
        assert soon(lambda: not any(exists(int(worker)) for worker in lines(tmp_path / "opened.txt")))
    slow.unlink()
    run(config_of(tmp_path, kind))
    assert run_results(tmp_path / "run") == expected


def test_no_more_shards_are_begun_than_there_are_workers(kind: str, tmp_path: Path) -> None:
    config = config_of(tmp_path, kind, workers=2)
    executor = open_executor(config)
    done = executor.map(_Noting(tmp_path), range(50), Reporter())
    next(done)
    next(done)
    begun = len(lines(tmp_path / "begun.txt"))
    done.close()  # type: ignore[attr-defined]
    executor.close()
    assert begun <= 2 + 2


class _Noting:
    """A function that notes when it begins."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "begun.txt"

    def __call__(self, shard: int) -> int:
        with self._file.open("a") as handle:
            handle.write(f"{shard}\n")
        return shard


def test_workers_with_another_version_are_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semievol.__version__", "99.0")
    with pytest.raises(ClusterError, match=r"a worker has semievol .*, this process 99\.0"):
        run(config_of(tmp_path, kind))


def test_a_service_is_not_asked_from_several_machines(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a service is asked, paced and paid in one place"):
        changed(config_of(tmp_path, kind), {"backend": {"kind": "openai"}, "model": {"name": "gpt-4o-mini"}})
