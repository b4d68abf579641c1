"""Each worker of a cluster has a vLLM server of its own."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import vllm_standin
from executors.on_ray import results
from processes import exists, soon
from samples import topics_config
from semievol.pipeline import run
from tiny import save_tiny_model

pytest.importorskip("torch")
pytest.importorskip("openai")

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def test_two_workers_start_two_servers_with_a_log_each_and_leave_none(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")

    def outcome(name: str, **executor: Any) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        config = topics_config(
            tmp_path / name,
            model={"name": model, "dtype": "float32", "device": "cpu", "max_length": 256},
            backend={"kind": "vllm", "vllm": {"command": (sys.executable, vllm_standin.__file__, "serve")}},
            data={"unlabeled_rows": 8},
            retrieval={"enabled": False},
            warmup={"enabled": False},
            collaborate={"n": 2, "max_tokens": 4},
            executor={"shard_rows": 2, **executor},
        )
        run(config, until="collaborate")
        return results(tmp_path / name)

    assert outcome("ray", kind="ray", ray={"workers": 2}) == outcome("inline")
    logs = sorted((tmp_path / "ray" / "run" / "logs").glob("vllm-*.log"))
    workers = [int(re.fullmatch(r"vllm-.+-(\d+)", log.stem)[1]) for log in logs]  # type: ignore[index]
    assert len(workers) == 2
    assert soon(lambda: not any(exists(worker) for worker in workers))
    assert not (tmp_path / "ray" / "run" / "logs" / "vllm.log").exists()
