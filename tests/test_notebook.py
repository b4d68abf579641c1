"""The notebook of the examples runs from its first cell to its last."""

import json
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

NOTEBOOK = Path(__file__).parents[1] / "examples/notebooks/tickets.ipynb"
CELLS = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_every_cell_runs_after_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, cell in enumerate(CELLS):
        exec(compile(cell, f"cell {number}", "exec"), names)
    assert len(names["pseudo"]) == 240  # type: ignore[arg-type]
    assert (tmp_path / "ticket-model/semievol.json").exists()
    assert (tmp_path / "runs/tickets/report.html").exists()


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
