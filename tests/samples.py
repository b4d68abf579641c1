"""Small data sets that tests write to disk."""

import csv
import gc
import random
from collections import Counter
from pathlib import Path
from typing import Any

from semievol.config import Config, build

TOPICS = {
    "weather": ["rain", "snow", "wind", "storm", "cloud", "sunny", "frost", "thunder"],
    "sport": ["goal", "match", "team", "player", "coach", "league", "stadium", "score"],
    "money": ["bank", "loan", "profit", "share", "market", "price", "tax", "budget"],
}


def write_topics(path: Path, rows: int, seed: int, answers: bool = True) -> None:
    """A CSV file with `rows` short texts on three topics; the words of a topic tell it, with some noise."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "topic"] if answers else ["text"])
        for number in range(rows):
            topic = rng.choice(list(TOPICS))
            others = [word for name, words in TOPICS.items() if name != topic for word in words]
            text = " ".join([*rng.sample(TOPICS[topic], 3), *rng.sample(others, 1), f"item{seed}x{number}"])
            writer.writerow([text, topic] if answers else [text])


def topics_config(folder: Path, **sections: Any) -> Config:
    """A run of the fake engine on topics in `folder`, whose files are written if they are missing."""
    for name, rows in (("labeled", 12), ("unlabeled", 40), ("test", 30)):
        if not (folder / f"{name}.csv").exists():
            write_topics(folder / f"{name}.csv", rows, seed=rows)
    raw: dict[str, Any] = {
        "output": str(folder / "run"),
        "data": {
            "labeled": str(folder / "labeled.csv"),
            "unlabeled": str(folder / "unlabeled.csv"),
            "test": str(folder / "test.csv"),
            "columns": {"prompt": "text", "answer": "topic"},
        },
        "task": {"kind": "label"},
        "retrieval": {"kind": "bm25"},
        "training": {"kind": "fake"},
        "backend": {"kind": "fake"},
        "executor": {"shard_rows": 16},
    }
    for section, options in sections.items():
        raw[section] = {**raw[section], **options} if isinstance(raw.get(section), dict) else options
    return build(raw)


def run_results(run: Path) -> dict[str, bytes]:
    """The bytes of every result in a run folder, by its place there."""
    found = (path for kind in ("*.parquet", "metrics.json", "votes.json") for path in sorted(run.rglob(kind)))
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


def held(*kinds: type) -> Counter[type]:
    """How many instances of each class are alive."""
    return Counter({kind: count for kind, count in Counter(map(type, gc.get_objects())).items() if kind in kinds})
