"""A whole run on a cluster whose machines share an S3 bucket and no disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest.importorskip("trl")

import pyarrow.fs as pafs
import pyarrow.parquet as pq

from s3 import s3_server
from samples import topics_config
from semievol.config import dump
from tiny import save_tiny_model

pytestmark = pytest.mark.ray


def test_workers_answer_and_train_with_a_bucket_as_all_that_they_share(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "cache-of-workers", tmp_path / "cache-of-driver"
    cluster = {"workers": 1, "num_cpus": 1, "runtime_env": {"env_vars": {"SEMIEVOL_CACHE": str(theirs)}}}
    config = topics_config(
        tmp_path,
        output="s3://runs/cluster/run",
        model={"name": save_tiny_model(tmp_path / "tiny"), "dtype": "float32", "device": "cpu"},
        backend={"kind": "transformers"},
        training={"kind": "local", "launcher": "ray", "num_workers": 2, "num_train_epochs": 1, "ray": cluster},
        collaborate={"collaborators": [{"weights": "warm", "examples": k} for k in (0, 1)], "max_tokens": 4},
        executor={"kind": "ray", "ray": cluster},
    )
    (tmp_path / "config.yaml").write_text(dump(config), encoding="utf-8")
    with s3_server() as s3:
        subprocess.run(
            [sys.executable, "-m", "semievol.cli", "run", str(tmp_path / "config.yaml")],
            env={**os.environ, **s3, "SEMIEVOL_CACHE": str(ours)},
            check=True,
        )
        store = pafs.S3FileSystem(
            endpoint_override=s3["AWS_ENDPOINT_URL"], access_key="testing", secret_key="testing", region="us-east-1"
        )
        listed = store.get_file_info(pafs.FileSelector("runs/cluster/run", recursive=True))
        there = {entry.path.removeprefix("runs/cluster/run/") for entry in listed if entry.is_file}
        answers = pq.read_table("runs/cluster/run/evaluate/evolved.parquet", filesystem=store)
    assert {f"{stage}/adapter/adapter_model.safetensors" for stage in ("warmup", "evolve")} <= there
    assert answers.num_rows == 30
    # The adapter came to the workers from the bucket, and what they computed to the driver through it.
    assert len(list(theirs.rglob("adapter_model.safetensors"))) == 2
    assert not list(ours.rglob("*.parquet.*"))
