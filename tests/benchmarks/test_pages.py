"""What pages say was measured is what is kept."""

import json
from collections.abc import Callable

import pytest
from benchmarks.pages import ROOT, with_part
from benchmarks.speed import table as speed

from benchmarks import cluster, demo, scale

PARTS = {
    ("README.md", demo.PART): demo.table,
    ("docs/speed.md", speed.PART): speed.from_kept,
    ("docs/ray.md", cluster.PART): lambda: cluster.table(json.loads(cluster.RESULTS.read_text(encoding="utf-8"))),
    **{
        ("docs/scale.md", name): lambda made=made: made(json.loads(scale.RESULTS.read_text(encoding="utf-8")))
        for name, made in scale.PARTS.items()
    },
}


@pytest.mark.parametrize(("page", "name"), PARTS, ids=lambda each: each)
def test_a_part_of_a_page_is_made_from_what_is_kept(page: str, name: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    made: Callable[[], str] = PARTS[page, name]
    assert with_part(text, name, made()) == text
