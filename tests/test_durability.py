"""Killed at any moment, the same command gives the same bytes and asks nothing twice."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from samples import run_results, topics_config
from semievol.config import dump

RUN = "import sys, semievol; semievol.run(semievol.load(sys.argv[1]))"


def run_process(folder: Path, **environment: str) -> int:
    """The exit status of a run in a process of its own; the ids it asked for are in asked.txt."""
    config = topics_config(
        folder,
        backend={"kind": "faulty:CountingBackend"},
        training={"kind": "faulty:DyingTrainer"},
        rounds=2,
    )
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "config.yaml")],
        env={**os.environ, "PYTHONPATH": path, "ASKED": str(folder / "asked.txt"), **environment},
        check=False,
        capture_output=True,
    ).returncode


def asked(folder: Path) -> Counter[str]:
    return Counter((folder / "asked.txt").read_text().split())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_process(folder) == 0
    return folder


def test_an_undisturbed_run_asks_every_question_once(undisturbed: Path) -> None:
    # ids repeat over stages' rounds only where a rejected row meets the same collaborator again
    first_round = [id_ for id_ in asked(undisturbed) if id_.endswith("/evolved")]
    assert len(first_round) == 30
    assert (undisturbed / "run" / "round-02" / "select" / "done.json").exists()


# 40 rows and 4 collaborators: 0 to 159 are collaborate, then come justify, the second round and 90 test answers.
@pytest.mark.parametrize("moment", [0, 64, 159, 200, 400])
def test_a_run_killed_while_it_asks_gives_the_same_bytes(moment: int, undisturbed: Path, tmp_path: Path) -> None:
    assert run_process(tmp_path, KILL_AT=str(moment)) == -9
    assert run_process(tmp_path) == 0
    assert run_results(tmp_path / "run") == run_results(undisturbed / "run")
    assert asked(tmp_path) == asked(undisturbed)


@pytest.mark.parametrize("training", [0, 1, 2])
def test_a_run_killed_while_it_trains_gives_the_same_bytes(training: int, undisturbed: Path, tmp_path: Path) -> None:
    assert run_process(tmp_path, KILL_TRAINING=str(training)) == -9
    assert run_process(tmp_path) == 0
    assert run_results(tmp_path / "run") == run_results(undisturbed / "run")
    assert asked(tmp_path) == asked(undisturbed)


def test_a_run_killed_again_and_again_gives_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    status = [run_process(tmp_path, KILL_AT="90", KILL_TRAINING="1") for _ in range(5)]
    assert status[0] == -9
    assert run_process(tmp_path) == 0
    assert run_results(tmp_path / "run") == run_results(undisturbed / "run")
    assert asked(tmp_path) == asked(undisturbed)


def test_a_torn_last_line_of_a_journal_is_asked_again(undisturbed: Path, tmp_path: Path) -> None:
    assert run_process(tmp_path, KILL_AT="40") == -9
    journal = next((tmp_path / "run" / "collaborate").glob("*.jsonl"))
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-7])
    assert run_process(tmp_path) == 0
    assert run_results(tmp_path / "run") == run_results(undisturbed / "run")
    assert (asked(tmp_path) - asked(undisturbed)).total() == 1


def test_a_finished_run_asks_and_trains_nothing(undisturbed: Path) -> None:
    before, bytes_before = asked(undisturbed), run_results(undisturbed / "run")
    assert run_process(undisturbed, KILL_AT="0", KILL_TRAINING="0") == 0
    assert asked(undisturbed) == before
    assert run_results(undisturbed / "run") == bytes_before
