"""Five instructions that say the same."""

from pathlib import Path

import pytest

from samples import topics_config
from semievol.config import TaskConfig
from semievol.data import load
from semievol.experiments.rephrasings import _OF_KIND, COUNT, rephrasings
from semievol.records import Example
from semievol.tasks import TASKS, open_task


def test_every_kind_of_task_has_five_different_ones() -> None:
    assert set(_OF_KIND) == set(TASKS)
    assert all(len(set(texts)) == COUNT for texts in _OF_KIND.values())


@pytest.mark.parametrize("kind", _OF_KIND)
def test_the_first_is_the_one_that_the_task_trains_with(kind: str) -> None:
    answers = {"multiple_choice": "A", "number": "3"}.get(kind, "yes")
    labeled = [Example(f"{i}", "?", answers if i else "no" if kind.startswith("label") else answers) for i in range(2)]
    task = open_task(TaskConfig(kind=kind), labeled)
    assert task.instruction == _OF_KIND[kind][0].format(labels="no, yes")


def test_each_names_every_label(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    for text in rephrasings(config, load(config), None):
        assert all(label in text for label in ("money", "sport", "weather"))
