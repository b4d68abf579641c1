"""A grid whose process is killed goes on, and asks nothing twice."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from samples import topics_config
from semievol.config import dump


def ablation(folder: Path, **environment: str) -> int:
    """The exit status of the command in a process of its own; the ids it asked for are in asked.txt."""
    config = topics_config(folder, backend={"kind": "faulty:CountingBackend"}, training={"kind": "faulty:DyingTrainer"})
    (folder / "topics.yaml").write_text(dump(config), encoding="utf-8")
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = ["experiment", "ablation", "--config", str(folder / "topics.yaml"), "--out", str(folder / "out")]
    return subprocess.run(
        [sys.executable, "-m", "semievol.cli", *command],
        env={**os.environ, "PYTHONPATH": path, "ASKED": str(folder / "asked.txt"), **environment},
        check=False,
        capture_output=True,
    ).returncode


def asked(folder: Path) -> Counter[str]:
    return Counter((folder / "asked.txt").read_text().split())


def answers(folder: Path) -> dict[str, bytes]:
    """The answers to the test rows by method; folders' names hold a digest of paths."""
    runs = sorted((folder / "out" / "runs" / "topics" / "seed-0").iterdir())
    return {run.name.rpartition("-")[0]: (run / "evaluate" / "evolved.parquet").read_bytes() for run in runs}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert ablation(folder) == 0
    return folder


@pytest.mark.parametrize("kill", [{"KILL_AT": "100"}, {"KILL_AT": "330"}, {"KILL_TRAINING": "1"}])
def test_a_killed_grid_gives_the_same_answers(kill: dict[str, str], undisturbed: Path, tmp_path: Path) -> None:
    assert ablation(tmp_path, **kill) == -9
    assert ablation(tmp_path) == 0
    assert asked(tmp_path) == asked(undisturbed)
    assert answers(tmp_path) == answers(undisturbed)
