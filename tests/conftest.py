"""Fixtures that any test may want."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of real benchmark splits: `SEMIEVOL_DATA`, else `../shared/data` from the project's root."""
    root = Path(__file__).parents[1]
    folder = Path(os.environ.get("SEMIEVOL_DATA") or root / ".." / "shared" / "data").expanduser()
    if not folder.is_dir():
        pytest.skip(f"the benchmark data is not at {folder}; SEMIEVOL_DATA names its folder")
    return folder.resolve()
