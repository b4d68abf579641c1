"""A vLLM server that is ready for a run: its own, started here, or one that is there; checked in either case."""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import openai

from semievol.backends.prompts import Prompts, TokenisedRequest
from semievol.backends.service.clients import open_client
from semievol.backends.vllm.checks import Probe
from semievol.backends.vllm.command import server_command
from semievol.backends.vllm.server import Server, free_port
from semievol.config import Config, ModelConfig, ServiceConfig
from semievol.errors import BackendError
from semievol.local import free_memory
from semievol.models.loading import resolve_model
from semievol.models.types import resolve_dtype
from semievol.run_folder.folder import RunFolder

logger = logging.getLogger(__name__)

PATIENCE = 3600.0
"""Seconds until a request counts as lost: it may wait in the engine's queue for long."""
_DEVICE = re.compile(r"device_config=(\w+)")
"""What vLLM writes of its device when it starts."""


class Engine:
    """A server, and what its models are called there."""

    def __init__(self, config: Config, url: str, server: Server | None) -> None:
        section = config.backend.vllm
        self._config, self._url, self._server = config, url, server
        self._client: openai.OpenAI | None = None
        self._loaded: list[str] = []
        self.service = ServiceConfig(
            base_url=f"{url}/v1",
            api_key_env="VLLM_API_KEY",
            max_concurrency=section.max_concurrency,
            timeout=PATIENCE,
            max_retries=config.backend.service.max_retries,
            retry_wait=config.backend.service.retry_wait,
        )
        self.names = {"base": "base"}
        """From the weights that requests name to the server's names."""
        self.seeds = section.send_seeds if section.send_seeds is not None else server is None or _takes_seeds(server)
        """Whether requests carry their seeds."""

    def prepare(self, folders: Mapping[str, str], prompts: Prompts, rows: Sequence[TokenisedRequest]) -> None:
        """Brings the adapters there and checks everything that a run rests on.

        Raises:
            BackendError: something is not as it should be; says what.
        """
        self._client = open_client(self.service)
        probe = Probe(self._client, self._url, prompts, rows)
        cards = probe.cards()
        if self._server is None:
            self.names["base"] = _served(self._config.model, cards, self._url, prompts.limit)
        probe.check_tokens(self.names["base"])
        probe.check_numbers(self.names["base"])
        for name, folder in folders.items():
            self.names[name] = name if self._server is not None else self._load(folder, cards)
            probe.check_adapter(self.names["base"], self.names[name], folder)

    def has_ended(self) -> bool:
        """Whether the run's own server has ended."""
        return self._server is not None and self._server.has_ended()

    def check(self) -> None:
        """Nothing while the server runs.

        Raises:
            BackendError: it has ended; says why in one line.
        """
        if self._server is not None:
            self._server.check()

    def close(self) -> None:
        """Ends the run's own server; of another's, takes back the adapters."""
        if self._server is not None:
            self._server.close()
        elif self._client is not None:
            for name in self._loaded:
                try:
                    self._client.post("/unload_lora_adapter", body={"lora_name": name}, cast_to=str)
                except openai.APIError as error:
                    logger.warning("%s keeps the adapter %s: %s", self._url, name, error)
        self._loaded = []
        if self._client is not None:
            self._client.close()

    def _load(self, folder: str, cards: Sequence[Mapping[str, object]]) -> str:
        """The name of an adapter that a server now has; it stands for its content."""
        assert self._client is not None
        content = Path(folder, "adapter_model.safetensors").read_bytes()
        name = f"semievol-{hashlib.sha256(content).hexdigest()[:16]}"
        if all(card["id"] != name for card in cards) and name not in self._loaded:
            body = {"lora_name": name, "lora_path": str(Path(folder).resolve())}
            try:
                self._client.post("/load_lora_adapter", body=body, cast_to=str)
            except openai.APIError as error:
                raise BackendError(
                    f"{self._url} does not load the adapter in {folder}: {error}; start it with --enable-lora, "
                    "a --max-lora-rank that suffices and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, where it sees that folder"
                ) from error
            self._loaded.append(name)
        return name


def open_engine(
    config: Config,
    folders: Mapping[str, str],
    prompts: Prompts,
    rows: Sequence[TokenisedRequest],
    stop: Callable[[], bool],
) -> Engine | None:
    """A server that is ready; `None` if `stop` said yes before it was.

    Args:
        config: the whole run.
        folders: the adapters by the names that requests use.
        rows: the run's next requests; the server is tried with a few of them.

    Raises:
        BackendError: it does not start or is not what it should be; says why in one line.
    """
    section = config.backend.vllm
    if section.url is not None:
        engine = Engine(config, section.url, None)
    else:
        server = _start(config, folders)
        try:
            ready = server.wait(section.startup_timeout, stop)
        except BaseException:
            server.close()
            raise
        if not ready:
            server.close()
            return None
        engine = Engine(config, server.url, server)
    try:
        engine.prepare(folders, prompts, rows)
    except BaseException:
        engine.close()
        raise
    return engine


def _start(config: Config, folders: Mapping[str, str]) -> Server:
    free_memory()  # the training's model would be in the server's way
    port = free_port()
    command = server_command(config, resolve_model(config.model), resolve_dtype(config.model), folders, port)
    log = RunFolder(config.output).engine_log_path("vllm")
    logger.info("starting vLLM on port %d; its output is in %s", port, log)
    return Server(command, port, log)


def _takes_seeds(server: Server) -> bool:
    """Whether its device is known and no CPU, where vLLM dies of seeds ("CPU Generator does not use offset")."""
    device = _DEVICE.search(server.output())
    return device is not None and device[1] != "cpu"


def _served(model: ModelConfig, cards: Sequence[Mapping[str, object]], url: str, limit: int) -> str:
    """A server's name of the base model.

    Raises:
        BackendError: it serves another one, or takes shorter prompts.
    """
    names = {model.name, resolve_model(model)}
    bases = [card for card in cards if card.get("parent") is None]
    for card in bases:
        if {card.get("id"), card.get("root")} & names:
            longest = card.get("max_model_len")
            if isinstance(longest, int) and longest < limit:
                raise BackendError(f"{url} takes {longest} tokens and model.max_length is {limit}; set it to {longest}")
            return str(card["id"])
    served = ", ".join(f"{card.get('id')} ({card.get('root')})" for card in bases)
    raise BackendError(f"{url} serves {served or 'nothing'}, and model.name is {model.name}; make them the same")
