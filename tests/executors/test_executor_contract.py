"""What every executor must do, wherever it runs shards."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from semievol.config import build
from semievol.executors import Executor, ShardsFailed, open_executor
from semievol.progress import Reporter


def doubled(shard: int) -> int:
    if shard < 0:
        raise ValueError(f"shard {shard} cannot be done")
    return 2 * shard


@pytest.fixture(params=["inline", "processes", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    options: dict[str, object] = {"kind": request.param}
    if request.param == "ray":
        address = request.getfixturevalue("cluster")
        here = {
            "env_vars": {
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
            }
        }
        options["ray"] = {"address": address, "workers": 2, "max_attempts": 1, "runtime_env": here}
    if request.param == "processes":
        options["processes"] = {"workers": 2, "max_attempts": 1}
    opened = open_executor(build({"output": str(tmp_path / "run"), "executor": options}))
    yield opened
    opened.close()


def test_every_shard_is_done_once(executor: Executor) -> None:
    assert sorted(executor.map(doubled, list(range(7)), Reporter())) == [0, 2, 4, 6, 8, 10, 12]


def test_no_shards_have_no_results(executor: Executor) -> None:
    assert list(executor.map(doubled, [], Reporter())) == []


def test_an_error_reaches_the_caller_and_names_the_shard(executor: Executor) -> None:
    with pytest.raises((ValueError, ShardsFailed), match="shard -1 cannot be done"):
        list(executor.map(doubled, [1, -1, 2], Reporter()))


def test_it_is_closed_twice_and_works_again(executor: Executor) -> None:
    assert list(executor.map(doubled, [1], Reporter())) == [2]
    executor.close()
    executor.close()
    assert list(executor.map(doubled, [2], Reporter())) == [4]
