"""Runs on a real S3 protocol: killed with SIGKILL and started again, and what cannot be reached said in a line."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from s3 import s3_server
from samples import topics_config
from semievol.config import dump

LIST = """
import hashlib, json, sys
from semievol.run_folder.folder import RunFolder
folder = RunFolder(sys.argv[1]).path
root = str(folder)
found = {str(path).removeprefix(root): hashlib.sha256(path.read_bytes()).hexdigest()
         for path in folder.rglob("*") if path.is_file()}
print(json.dumps(found))
"""
LOSE_IT = """
import os, pathlib, signal, sys, threading, time
from semievol import cli
def lose():
    asked = pathlib.Path(os.environ["ASKED"])
    while not asked.exists() or asked.read_text().count("\\n") < 70:
        time.sleep(0.01)
    os.kill(int(os.environ["S3_PROCESS"]), signal.SIGKILL)
threading.Thread(target=lose, daemon=True).start()
sys.exit(cli.main(["run", sys.argv[1]]))
"""
RUN = "import sys, semievol; semievol.run(semievol.load(sys.argv[1]))"


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


def process(folder: Path, s3: dict[str, str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"PYTHONPATH": path, "ASKED": str(folder / "asked.txt"), "SEMIEVOL_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **s3, **own, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def run(folder: Path, s3: dict[str, str], output: str, **environment: str) -> int:
    config = topics_config(
        folder, output=output, backend={"kind": "faulty:CountingBackend"}, training={"kind": "faulty:DyingTrainer"}
    )
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    return process(folder, s3, "-c", RUN, str(folder / "config.yaml"), **environment).returncode


def results(folder: Path, s3: dict[str, str], output: str) -> dict[str, str]:
    """The digest of every result by its place."""
    listed = process(folder, s3, "-c", LIST, output)
    kinds = (".parquet", "metrics.json", "votes.json")
    return {name: digest for name, digest in json.loads(listed.stdout).items() if name.endswith(kinds)}


def asked(folder: Path) -> Counter[str]:
    return Counter((folder / "asked.txt").read_text().split())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder, {}, str(folder / "run")) == 0
    return folder


@pytest.mark.parametrize("disturbed", [{"KILL_AT": "70"}, {"KILL_TRAINING": "1"}], ids=["collaborate", "evolve"])
def test_a_run_killed_on_s3_gives_the_bytes_of_one_on_a_disk(
    disturbed: dict[str, str], s3: dict[str, str], undisturbed: Path, tmp_path: Path
) -> None:
    output = f"s3://runs/{next(iter(disturbed)).lower()}/run"
    assert run(tmp_path, s3, output, **disturbed) == -9
    assert run(tmp_path, s3, output) == 0
    assert results(tmp_path, s3, output) == results(undisturbed, {}, str(undisturbed / "run"))
    assert asked(tmp_path) == asked(undisturbed)


def test_after_a_kill_another_machine_asks_for_the_shard_in_flight_alone(
    s3: dict[str, str], undisturbed: Path, tmp_path: Path
) -> None:
    # A shard of 16 rows and 4 collaborators is 64 requests; number 70 is the seventh of the second shard.
    output = "s3://runs/elsewhere/run"
    assert run(tmp_path, s3, output, KILL_AT="70") == -9
    assert age_the_lock(tmp_path, s3, output) == 0
    assert run(tmp_path, s3, output, SEMIEVOL_CACHE=str(tmp_path / "other-cache")) == 0
    assert results(tmp_path, s3, output) == results(undisturbed, {}, str(undisturbed / "run"))
    assert (asked(tmp_path) - asked(undisturbed)).total() == 6


def age_the_lock(folder: Path, s3: dict[str, str], output: str) -> int:
    """Makes the killed process' lock one of a machine that has been silent for two minutes."""
    code = (
        "import json, sys; from semievol.run_folder.place import path_of; path = path_of(sys.argv[1]) / '.lock';"
        "held = json.loads(path.read_text()); held.update(host='elsewhere', time=held['time'] - 120);"
        "path.write_text(json.dumps(held))"
    )
    return process(folder, s3, "-c", code, output).returncode


def test_a_store_that_is_lost_in_the_middle_of_a_run_is_said_in_a_line(tmp_path: Path) -> None:
    config = topics_config(tmp_path, output="s3://runs/lost/run", backend={"kind": "faulty:CountingBackend"})
    (tmp_path / "config.yaml").write_text(dump(config), encoding="utf-8")
    with s3_server() as s3:
        ended = process(tmp_path, s3, "-c", LOSE_IT, str(tmp_path / "config.yaml"), AWS_MAX_ATTEMPTS="1")
    assert ended.returncode == 1
    assert "s3://runs/lost/run: cannot be reached" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("output", "environment", "said"),
    [
        ("s3://nowhere/run", {}, "nowhere"),
        ("s3://runs/run", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}, "cannot be reached"),
    ],
)
def test_what_cannot_be_reached_is_said_in_a_line(
    output: str, environment: dict[str, str], said: str, s3: dict[str, str], tmp_path: Path
) -> None:
    config = topics_config(tmp_path, output=output)
    (tmp_path / "config.yaml").write_text(dump(config), encoding="utf-8")
    ended = process(tmp_path, s3, "-m", "semievol.cli", "run", str(tmp_path / "config.yaml"), **environment)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len([line for line in ended.stderr.splitlines() if line.startswith("semievol:")]) == 1
