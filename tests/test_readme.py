"""The README says what was measured, and its files exist."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from semievol.cli import _parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "benchmarks" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_made_from_the_kept_results_of_three_seeds(benchmark: ModuleType) -> None:
    assert sorted(benchmark.kept_metrics()) == [0, 1, 2]
    assert benchmark.with_table(README, benchmark.table()) == README


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_it_names_is_one() -> None:
    actions = _parser()._actions
    known = next(set(action.choices) for action in actions if isinstance(action.choices, dict))
    named = set(re.findall(r"semievol (init|check|run|stage|status|evaluate|predict|config|\w+) ", README))
    assert named - {"turns", "semievol"} <= known
    assert known <= named
