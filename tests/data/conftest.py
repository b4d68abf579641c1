"""Files to read, and a config that reads them."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from semievol.config import Config


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
        path = tmp_path / name
        with path.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *rows])
        return path

    return write


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """A config over the given data section; its task takes any answer but `F`."""

    def make(seed: int = 0, unlabeled_answers: str | None = None, **data: Any) -> Config:
        sources = {"unlabeled": None} | {
            key: str(each) if isinstance(each, Path) else each for key, each in data.items()
        }
        return Config.model_validate(
            {
                "seed": seed,
                "data": sources,
                "task": {"kind": "any_answer:AnyAnswer"},
                "evaluate": {"unlabeled_answers": unlabeled_answers},
            }
        )

    return make
