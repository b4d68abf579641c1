"""Fixtures that any test may want."""

import os
from pathlib import Path

import pytest

PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))

if PROCESSES > 1:  # torch would take all cores in each of them
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // PROCESSES)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, a file's tests share one, and so do all that start Ray clusters."""
    if PROCESSES > 1:
        for item in items:
            group = "ray" if item.get_closest_marker("ray") else item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of real benchmark splits: `SEMIEVOL_DATA`, else `../shared/data` from the project's root."""
    root = Path(__file__).parents[1]
    folder = Path(os.environ.get("SEMIEVOL_DATA") or root / ".." / "shared" / "data").expanduser()
    if not folder.is_dir():
        pytest.skip(f"the benchmark data is not at {folder}; SEMIEVOL_DATA names its folder")
    return folder.resolve()
