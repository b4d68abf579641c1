"""How a machine is divided among its processes, and what they say where they cannot work."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from executors.pools import config_of, lines, order
from processes import exists, soon
from samples import topics_config
from semievol.config import ModelConfig, dump
from semievol.errors import ConfigError
from semievol.executors import processes
from semievol.executors.processes import ProcessesExecutor, environments, gpus_of


def test_each_worker_has_a_gpu_of_its_own_and_those_that_replace_it_take_it_over() -> None:
    assert environments(["0", "GPU-b"], 2) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "GPU-b"}]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments(["4", "5"], 3)] == ["4", "5", "4"]


def test_the_gpus_that_may_be_used_are_those_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_of(ModelConfig(device="cuda")) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7, GPU-5e")
    assert gpus_of(ModelConfig(device="cuda")) == ["7", "GPU-5e"]
    assert gpus_of(ModelConfig(device="cpu")) == []


def test_without_gpus_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert environments([], 4) == [{"OMP_NUM_THREADS": "2"}] * 4
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environments([], 2) == [{"OMP_NUM_THREADS": "5"}] * 2


def test_a_worker_sees_its_gpu_alone_and_one_that_replaces_it_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "gpus_of", lambda model: ["6", "7"])
    config = topics_config(tmp_path, backend={"kind": "transformers"}, executor={"kind": "processes"})
    executor = ProcessesExecutor(config)
    executor.connect()
    assert executor.most == 2
    workers = [executor.hired(), executor.hired()]
    workers[0].kill()
    workers[0] = executor.hired()
    visible = [worker.work(os.getenv, "CUDA_VISIBLE_DEVICES").result() for worker in workers]
    for worker in workers:
        worker.kill()
    assert visible == ["6", "7"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"backend": {"kind": "vllm"}}, "backend.vllm.data_parallel_size"),
        ({"backend": {"kind": "transformers"}, "model": {"device": "cuda:1"}}, "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_what_does_not_go_with_processes_is_refused(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        topics_config(tmp_path, executor={"kind": "processes"}, **options)


def test_ctrl_c_in_a_terminal_leaves_the_workers_to_their_run(tmp_path: Path) -> None:
    """A terminal sends it to the whole group."""
    config = config_of(tmp_path, "processes")
    order(tmp_path, "slow")
    file = tmp_path / "config.yaml"
    file.write_text(dump(config), encoding="utf-8")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "semievol.cli", "run", str(file)]
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        assert soon(lambda: len(lines(tmp_path / "asked.txt")) >= 20, seconds=60)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    assert soon(lambda: not any(exists(int(worker)) for worker in lines(tmp_path / "opened.txt")))
