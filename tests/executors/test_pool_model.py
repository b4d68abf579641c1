"""A real model on two workers gives the bytes that it gives in one process."""

from pathlib import Path
from typing import Any

import pytest

from samples import run_results, topics_config
from semievol.config import Config
from semievol.pipeline import run

pytestmark = [pytest.mark.model, pytest.mark.network]


def config_of(folder: Path, **executor: Any) -> Config:
    folder.mkdir()
    return topics_config(
        folder,
        backend={"kind": "transformers"},
        model={"dtype": "bfloat16"},
        data={"unlabeled_rows": 6},
        warmup={"enabled": False},
        collaborate={"collaborators": [{"weights": "base", "examples": k} for k in (0, 1)], "max_tokens": 6},
        executor={"shard_rows": 2, **executor},
    )


@pytest.mark.parametrize("kind", ["processes", pytest.param("ray", marks=pytest.mark.ray)])
def test_smollm2_gives_the_same_bytes_on_two_workers(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "ray":
        request.getfixturevalue("cluster")
    run(config_of(tmp_path / "inline"), until="justify")
    run(config_of(tmp_path / kind, kind=kind, **{kind: {"workers": 2}}), until="justify")
    assert run_results(tmp_path / kind / "run") == run_results(tmp_path / "inline" / "run")
