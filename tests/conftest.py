"""Fixtures that any test may want."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import watched
from semievol.records import Request

PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))

if PROCESSES > 1:  # torch would take all cores in each of them
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // PROCESSES)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several processes, a file's tests share one, and so do all files whose tests start Ray clusters.

    A cluster is found by every process of the machine that looks for one.
    """
    from xdist.scheduler import LoadScopeScheduling

    files = Path(__file__).parent.rglob("test_*.py")
    of_ray = {file.relative_to(config.rootpath).as_posix() for file in files if "mark.ray" in file.read_text("utf-8")}

    class Grouped(LoadScopeScheduling):
        """xdist's own groups (loadgroup) do nothing with pytest 9.2."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if file in of_ray else file

    return Grouped(config, log)


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of real benchmark splits: `SEMIEVOL_DATA`, else `../shared/data` from the project's root."""
    root = Path(__file__).parents[1]
    folder = Path(os.environ.get("SEMIEVOL_DATA") or root / ".." / "shared" / "data").expanduser()
    if not folder.is_dir():
        pytest.skip(f"the benchmark data is not at {folder}; SEMIEVOL_DATA names its folder")
    return folder.resolve()


@pytest.fixture
def asked() -> Iterator[list[Request]]:
    """What watched engines are asked; nothing is left for the next test."""
    watched.ASKED.clear()
    yield watched.ASKED
    for told in (watched.ASKED, watched.SAYS, watched.DRAWS):
        told.clear()
