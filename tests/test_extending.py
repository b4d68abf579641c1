"""The examples of docs/extending.md work as they stand there."""

import csv
import json
import random
import re
import sys
from pathlib import Path

import pytest

from semievol.config import build
from semievol.pipeline import run
from semievol.records import TrainingExample
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_rows
from semievol.training.folder import TrainingFolder
from semievol.training.job import Job

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
PHRASES = {
    "1": "broken on arrival, a waste of money, terrible",
    "3": "does its job, nothing special, average",
    "5": "wonderful, bought another one, love it",
}


@pytest.fixture
def own_parts(tmp_path, monkeypatch):
    """Writes the page's code as a module, and reviews as data; gives the config."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = tmp_path / "my_parts.py"
    module.write_text("\n\n".join(blocks), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    rng = random.Random(0)
    for split, count in {"labeled": 12, "unlabeled": 30, "test": 20}.items():
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["prompt", "answer"])
            for number in range(count):
                stars, phrases = rng.choice(list(PHRASES.items()))
                said = rng.sample(phrases.split(), 4)
                writer.writerow([f"{split} {number}: {' '.join(said)}", f"{stars} stars"])
    return build(
        {
            "output": str(tmp_path / "run"),
            "data": {split: str(tmp_path / f"{split}.csv") for split in ("labeled", "unlabeled", "test")},
            "task": {"kind": "my_parts:Stars"},
            "backend": {"kind": "my_parts:NearestBackend"},
            "training": {"kind": "my_parts:NearestTrainer"},
            "retrieval": {"kind": "my_parts:SharedWords"},
            "collaborate": {"collaborators": [{"weights": "base"}, {"examples": 0}, {"examples": 2}]},
            "evaluate": {"unlabeled_answers": "answer"},
        }
    )


def test_the_example_parts_run_through_the_whole_method(own_parts):
    result = run(own_parts)
    models = result.metrics["models"]
    assert models["warm"]["accuracy"] > models["base"]["accuracy"]
    assert "macro_f1" in models["warm"]


def test_the_example_retriever_shows_the_labeled_example_with_most_common_words(own_parts):
    run(own_parts, until="select")
    rows = read_rows(RunFolder(own_parts.output).stage("select").rows_path)
    shown = [candidate for row in rows for candidate in row["candidates"] if candidate["collaborator"] == "warm+2"]
    assert all(len(candidate["references"]) == 2 for candidate in shown)
    assert len({candidate["references"][0] for candidate in shown}) > 1


def test_the_example_view_stands_beside_the_model(own_parts):
    raw = own_parts.model_dump(mode="json")
    trusted = {
        "warmup": {"folds": 2},
        "collaborate": {"how": "score", "gate": False, "collaborators": [{"weights": "warm"}]},
        "justify": {"mode": "pool", "views": ["my_parts:WordVotes"]},
        "select": {"rule": "weights"},
    }
    run(build({**raw, **trusted}), until="select")
    pool = json.loads((RunFolder(own_parts.output).stage("justify").path / "pool.json").read_text())
    assert pool["views"] == ["warm+0", "my_parts:WordVotes"]
    assert pool["weights"][1] > 0.2


def test_the_example_trainer_goes_on_from_given_weights(own_parts, tmp_path):
    from my_parts import NearestTrainer

    run(own_parts, until="warmup")
    warm = TrainingFolder(RunFolder(own_parts.output).stage("warmup")).adapter_path
    more = TrainingExample("new", ({"role": "user", "content": "fine"},), "3")
    NearestTrainer().train(Job(own_parts.model, [more], own_parts.training, tmp_path / "more", 0, str(warm)))
    before, after = (json.loads(Path(folder, "rows.json").read_text()) for folder in (warm, tmp_path / "more"))
    assert after == [*before, {"prompt": "fine", "response": "3"}]


def test_the_methods_that_the_page_says_a_task_may_replace_are_there():
    from semievol.tasks.base import BaseTask

    named = re.findall(r"^\| `(\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) >= 6
    assert all(callable(getattr(BaseTask, name)) for name in named)
