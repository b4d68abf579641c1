"""Whole runs on a real vLLM on this machine's CPU: `make test-vllm`."""

import importlib.util
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from processes import exists
from samples import topics_config, write_topics
from semievol.config import Config, build
from semievol.errors import BackendError
from semievol.records import Message, Request
from vllm_engine import DEMO_MODEL, ENGINE, MODEL, small_engine

if importlib.util.find_spec("vllm") is None:
    pytest.skip("vLLM is not installed here; make test-vllm", allow_module_level=True)

from semievol.backends.vllm.backend import VllmBackend
from semievol.backends.vllm.command import server_command
from semievol.backends.vllm.server import Server, free_port
from semievol.models.loading import resolve_model
from semievol.pipeline import run
from semievol.report import finish
from semievol.training import Progress, Trained, silent
from semievol.training.job import Job
from semievol.training.local import LocalTrainer

pytestmark = [pytest.mark.vllm, pytest.mark.model, pytest.mark.network]


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    with small_engine():
        yield


def small_run(folder: Path, model: dict[str, Any], backend: dict[str, Any], training: str) -> Config:
    for name, rows in (("labeled", 8), ("unlabeled", 6), ("test", 4)):
        write_topics(folder / f"{name}.csv", rows, seed=rows)
    return topics_config(
        folder,
        model=model,
        backend=backend,
        training={"kind": training, "num_train_epochs": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 4},
        collaborate={"collaborators": [{"weights": "warm"}, {"weights": "base", "examples": 1}]},
    )


def _candidate(row: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in row["candidates"] if each["collaborator"] == name)


def check_finished(config: Config) -> None:
    result = run(config)
    assert result.metrics is not None
    assert set(result.metrics["models"]) == {"base", "warm", "evolved"}
    finish(result.path)
    assert (result.path / "report.html").exists()
    rows = pq.read_table(result.path / "select" / "pseudo_labels.parquet").to_pylist()
    assert len(rows) == 6
    assert all(row["mean_nll"] > 0 for row in rows if row["kept"])
    sure = {name: [_candidate(row, name)["mean_nll"] for row in rows] for name in ("warm+0", "base+1")}
    assert all(each is not None for values in sure.values() for each in values)
    assert sure["warm+0"] != sure["base+1"]


def test_a_run_goes_through_to_its_report(tmp_path: Path) -> None:
    check_finished(small_run(tmp_path, MODEL, {"kind": "vllm", "vllm": {"engine_options": ENGINE}}, "local"))


class LoadingTrainer(LocalTrainer):
    """Tells the server at $VLLM_URL of the adapter that it has trained, under the name that the run will use."""

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        local, out = job.model.model_copy(update={"name": DEMO_MODEL}), job.out
        trained = super().train(replace(job, model=local), progress)
        body = f'{{"lora_name": "{out.with_name("adapter")}", "lora_path": "{out}"}}'.encode()
        url = f"{os.environ['VLLM_URL']}/v1/load_lora_adapter"
        urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})).close()
        return trained


def test_a_run_by_the_openai_backend_goes_through_on_a_vllm_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    port = free_port()
    config = build({"model": MODEL, "backend": {"vllm": {"engine_options": ENGINE}}})
    command = server_command(config, resolve_model(config.model), "float32", {}, port)
    command += ["--enable-lora", "--max-lora-rank", "16", "--max-loras", "2"]
    server = Server(command, port, tmp_path / "there.log")
    try:
        assert server.wait(300, lambda: False)
        monkeypatch.setenv("VLLM_URL", server.url)
        backend = {"kind": "openai", "service": {"base_url": f"{server.url}/v1"}}
        model = {**MODEL, "name": "base"}
        check_finished(small_run(tmp_path, model, backend, f"{__name__}:LoadingTrainer"))
    finally:
        server.close()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    section = {"engine_options": {"no_such_option": 3}}
    config = build({"output": str(tmp_path), "model": MODEL, "backend": {"kind": "vllm", "vllm": section}})
    question = Request("1", (Message(role="user", content="oil"),), "base")
    with pytest.raises(BackendError, match=r"this vLLM does not know --no-such-option.*vllm\.log"):
        list(VllmBackend(config, {}).generate([question]))
    assert not any(exists(child) for child in children() - before)


def children() -> set[int]:
    return {int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
