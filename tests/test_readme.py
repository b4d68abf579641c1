"""The README says what was measured, and its files exist."""

import re
from pathlib import Path

from benchmarks.demo import kept_metrics

from semievol.arguments import parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_demo_was_measured_with_three_seeds() -> None:
    assert sorted(kept_metrics()) == [0, 1, 2]


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_it_names_is_one() -> None:
    actions = parser()._actions
    known = next(set(action.choices) for action in actions if isinstance(action.choices, dict))
    named = set(re.findall(r"semievol (\w+)[ `]", README))
    assert named - {"turns", "semievol"} <= known
    assert known <= named
