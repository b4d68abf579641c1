"""The measurements of a card run through in tiny shapes, and the page says what their file holds."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

pytest.importorskip("trl")

from benchmarks.gpu import memory, table
from benchmarks.gpu.__main__ import PARTS, measured
from benchmarks.pages import with_part


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict:
    file = tmp_path_factory.mktemp("gpu") / "kept.json"
    measured(["tiny"], PARTS, 300, file, Namespace(tiny=True, ours=False))
    return json.loads(file.read_text())


def test_every_part_is_measured(kept: dict) -> None:
    assert kept["left_out"] == []
    assert [part for part in PARTS if part not in kept] == []
    assert [name for part in PARTS for name, figures in kept[part].items() if "failed" in figures] == []
    assert set(kept["training, short"]["tiny"]) >= {"ours", "peft", "trl", "trl, packed"}
    assert kept["training, short"]["tiny"]["ours"]["tokens_a_second"] > 0


def test_ours_says_what_plain_libraries_say(kept: dict) -> None:
    same = kept["sameness"]["tiny"]
    assert same["way"] == "tree"
    assert same["largest_difference_of_losses"] < 0.01
    assert same["h_ours_to_float32"]["mean"] < 0.01
    long = kept["training, long"]["tiny"]
    assert long["ours"]["losses"] == pytest.approx(long["peft"]["losses"], abs=0.01)


def test_a_part_that_would_begin_too_late_is_left_out(tmp_path: Path) -> None:
    found = measured(["tiny"], ("rate", "answering"), -1, tmp_path / "kept.json", Namespace(tiny=True, ours=True))
    assert found["left_out"] == ["rate, tiny", "answering, tiny"]
    assert json.loads((tmp_path / "kept.json").read_text())["left_out"] == found["left_out"]


def test_the_page_is_made_of_the_kept_files() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert with_part(page, table.PART, table.made()) == page
    assert "| 8B | trl |" in page


def test_the_page_says_what_arithmetic_says_of_memory() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert with_part(page, memory.PART, memory.made()) == page
