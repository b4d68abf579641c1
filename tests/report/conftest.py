"""Runs of the fake backend, with everything that a report shows."""

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semievol.config import build
from semievol.pipeline import run
from semievol.run_folder.folder import RunFolder

WORDS = {
    "fruit": ["apple", "pear", "plum", "cherry", "melon", "fig"],
    "metal": ["iron", "zinc", "gold", "copper", "silver", "tin"],
}
Runner = Callable[..., RunFolder]


def write_rows(path: Path, count: int, seed: int) -> None:
    """A file of `count` sentences whose words tell their kind, most of the time."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["prompt", "answer", "shelf"])
        for number in range(count):
            kind = rng.choice(["fruit", "fruit", "metal"])
            other = "metal" if kind == "fruit" else "fruit"
            words = [rng.choice(WORDS[kind if rng.random() < 0.8 else other]) for _ in range(5)]
            writer.writerow([f"{seed}/{number}: {' '.join(words)}", kind, f"shelf <{number % 2}>"])


@pytest.fixture
def make_run(tmp_path: Path) -> Runner:
    """Runs the pipeline on tiny data; further sections are joined to the config."""

    def make(until: str = "evaluate", **sections: Any) -> RunFolder:
        for seed, (name, count) in enumerate({"labeled": 20, "unlabeled": 60, "test": 40}.items()):
            write_rows(tmp_path / f"{name}.csv", count, seed)
        raw: dict[str, Any] = {
            "output": str(tmp_path / "run"),
            "data": {name: str(tmp_path / f"{name}.csv") for name in ("labeled", "unlabeled", "test")},
            "retrieval": {"enabled": False},
            "training": {"kind": "fake"},
            "backend": {"kind": "fake", "fake_noise": 0.4},
            "evaluate": {"unlabeled_answers": "answer"},
            "collaborate": {"collaborators": [{"weights": "warm"}] * 3},
        }
        raw["data"]["columns"] = {"category": "shelf"}
        for name, section in sections.items():
            raw[name] = {**raw.get(name, {}), **section} if isinstance(section, dict) else section
        run(build(raw), until=until)
        return RunFolder(raw["output"])

    return make
