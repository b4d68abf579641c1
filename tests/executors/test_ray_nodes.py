"""Shards on a Ray cluster of several nodes, each a raylet of its own on this machine."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executors.pools import config_of, lines, order
from processes import soon
from samples import run_results
from semievol.pipeline import run

pytestmark = pytest.mark.ray


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster whose first node takes no worker, and two others that take two each."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'semievol[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_goes_costs_its_shards_in_flight_and_nothing_else(
    nodes: Any, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    slow = order(tmp_path, "slow")

    def remove_one_node() -> None:
        soon(lambda: len(lines(tmp_path / "asked.txt")) >= 40, seconds=60)
        nodes.remove_node(sorted(nodes.worker_nodes, key=id)[0], allow_graceful=False)
        slow.unlink()

    removal = threading.Thread(target=remove_one_node)
    removal.start()
    run(config_of(tmp_path, workers=4, num_cpus=1))
    removal.join()
    assert run_results(tmp_path / "run") == expected
    assert len(nodes.list_all_nodes()) == 2
    asked = lines(tmp_path / "asked.txt")
    # What was computed when the node went and not yet in a journal is at most one answer for each of its two workers.
    assert len(asked) - len(set(asked)) <= 2
