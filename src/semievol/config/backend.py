"""Options of the engine that answers."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from semievol.config.section import Count, Section, Share


class ServiceConfig(Section):
    """A service that speaks the OpenAI API: OpenAI, Azure, Together, Fireworks, vLLM, SGLang, llama.cpp, Ollama.

    The model is `model.name`, as the service calls it. From `api_key_env` on, the options change no answer, only how
    it is had.
    """

    base_url: str | None = None
    """Where the service is, such as `http://localhost:8000/v1`; OpenAI's if it is not set. With `api_version`, the
    address of the Azure resource."""
    api_version: str | None = None
    """API version of an Azure resource that names one; its newer `/openai/v1` address needs none."""
    logprobs: Literal["auto"] | bool = "auto"
    """Ask for log-probabilities of the answers. `auto`: until the service refuses them."""
    extra_body: dict[str, Any] = {}
    """More fields of every request: `{reasoning_effort: low}`."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; never the key itself."""
    mode: Literal["realtime", "batch"] = "realtime"
    """`batch`: requests are uploaded in files and answered within a day, at half the price if the service has it."""
    max_concurrency: Count = 64
    """Most requests in flight. Fewer are sent while the service is overloaded."""
    requests_per_minute: Count | None = None
    """Most requests in a minute; as many as the service takes if it is not set."""
    tokens_per_minute: Count | None = None
    """Most tokens in a minute, estimated for what is in flight."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds until a request counts as lost."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 8
    """How often a request that failed is sent again before it is recorded with its reason."""
    retry_wait: Annotated[float, Field(gt=0)] = 0.5
    """Seconds before the first retry, and before a job is looked at for the first time; the waits double up to a
    minute. A service that names a time is waited for that long."""
    longest_wait: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Most seconds that a service which names a time is waited for before it is asked again."""

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):  # the message does not repeat it: it may be a key
            raise ValueError(
                "name the environment variable that holds the key, in capitals, such as OPENAI_API_KEY; "
                "a key itself does not belong in a config"
            )
        return name

    @field_validator("extra_body")
    @classmethod
    def _holds_no_key(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if name := next(filter(_OF_SECRETS.search, _names_in(fields)), None):
            raise ValueError(
                f"{name} stands for a secret, and the config is written into the run folder; "
                "the environment variable that api_key_env names holds the key"
            )
        return fields

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else _address(url, "https://api.openai.com/v1")


_OF_SECRETS = re.compile(r"api.?key|authorization|passw|secret|(access|auth|bearer|api).?token", re.IGNORECASE)
"""Names of fields that hold what nobody else may know."""


def _names_in(content: Any) -> Iterator[str]:
    """Every name of a field in it, at whatever depth."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield str(name)
            yield from _names_in(value)
    elif isinstance(content, list):
        for value in content:
            yield from _names_in(value)


def _address(url: str, example: str) -> str:
    """The address, which holds neither keys nor parameters."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"expected an address such as {example}")
    if "@" in parts.netloc or parts.query:
        raise ValueError("keys and parameters do not belong in the address; an environment variable holds the key")
    return url


SPEED_OPTIONS = frozenset(
    {
        "api_key_env",
        "mode",
        "max_concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "timeout",
        "max_retries",
        "retry_wait",
        "longest_wait",
    }
)
"""Options of a service that change no answer, and so stand in no stage's key."""


class VllmConfig(Section):
    """A vLLM server: one that the run starts and stops itself, or one that is there.

    The base model and the adapters are served side by side. The first seven options change no answer beyond rounding.
    """

    url: str | None = None
    """Address of a server that is there, such as `http://gpu-box:8000`. It must serve `model.name`, see the run folder
    by the same path, and be started with `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`. Its key, if it wants
    one, is in the environment variable `VLLM_API_KEY`. If it is not set, the run starts a server of its own."""
    command: tuple[str, ...] = ()
    """What starts the server, up to the model's name, in place of this environment's own vLLM:
    `[/opt/vllm/bin/vllm, serve]`."""
    tensor_parallel_size: Count = 1
    """GPUs over which the model is spread."""
    data_parallel_size: Count = 1
    """Copies of the model, each on GPUs of its own."""
    gpu_memory_utilization: Share | None = None
    """Share of the GPU's memory that the server takes; vLLM's own default if it is not set."""
    max_concurrency: Count = 512
    """Most requests in flight; the engine forms its batches from them."""
    startup_timeout: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds until a start counts as failed; large models take minutes."""
    engine_options: dict[str, Any] = {}
    """Any other option of `vllm serve` by its name: `{max_num_seqs: 512, enforce_eager: true, quantization: fp8}`."""
    send_seeds: bool | None = None
    """Send the seed of each request. If it is not set: yes, unless the run's own server computes on a CPU, where
    vLLM dies of seeds."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else _address(url, "http://localhost:8000").removesuffix("/").removesuffix("/v1")

    @field_validator("engine_options")
    @classmethod
    def _leaves_ours_alone(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name.replace("-", "_") in OWN_OPTIONS:
                raise ValueError(f"{name} is set by the backend itself; see docs/vllm.md")
        return {name.replace("-", "_"): value for name, value in options.items()}


VLLM_SPEED_OPTIONS = frozenset(
    {
        "url",
        "command",
        "tensor_parallel_size",
        "data_parallel_size",
        "gpu_memory_utilization",
        "max_concurrency",
        "startup_timeout",
    }
)
"""Options of vLLM that change no answer beyond rounding, and so stand in no stage's key."""


OWN_OPTIONS = frozenset(
    {
        "model",
        "served_model_name",
        "host",
        "port",
        "uds",
        "api_key",
        "ssl_keyfile",
        "ssl_certfile",
        "root_path",
        "enable_lora",
        "lora_modules",
        "logprobs_mode",
        "generation_config",
        "tensor_parallel_size",
        "data_parallel_size",
        "gpu_memory_utilization",
    }
)
"""Options of `vllm serve` that the backend rests on, or that have a name of their own in `backend.vllm`."""


class BackendConfig(Section):
    """The engine that answers."""

    kind: str = "transformers"
    """`transformers`, `vllm`, `openai` (any service with that API), `fake`, or `my_package.module:Class`."""
    service: ServiceConfig = ServiceConfig()
    vllm: VllmConfig = VllmConfig()
    batch_tokens: Literal["auto"] | Count = "auto"
    """Tokens that the transformers backend computes at once; what prompts have in common counts once. `auto`: 4,096,
    and 16,384 on a CUDA GPU."""
    fake_noise: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of the fake backend's answers that are another than its best, at temperature 1."""
