"""A Ray cluster on this machine, for as long as a module's tests want it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.pools import config_of
from samples import run_results
from semievol.pipeline import run


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of one machine with four logical cores."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'semievol[ray]'")
    context = ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the inline executor gives."""
    folder: Path = tmp_path_factory.mktemp("inline") / "it"
    run(config_of(folder, "inline"))
    return run_results(folder / "run")
