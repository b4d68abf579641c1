"""The `openai` package's clients for a configured service. They retry nothing by themselves."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

import openai

from semievol.config import ServiceConfig
from semievol.errors import BackendError, keep_secret

OPENAI = "https://api.openai.com/v1"


def open_client(service: ServiceConfig, retries: int = 0) -> openai.OpenAI:
    """A client for files and jobs.

    Args:
        retries: how often the client itself repeats a call that failed; 0 for calls that must not be made twice.

    Raises:
        BackendError: the key's environment variable is not set.
    """
    if service.api_version is not None:
        return openai.AzureOpenAI(azure_endpoint=address(service), max_retries=retries, **_options(service))
    connections = openai.DefaultHttpxClient(trust_env=not _is_here(service))
    return openai.OpenAI(base_url=address(service), max_retries=retries, http_client=connections, **_options(service))


def open_async_client(service: ServiceConfig) -> openai.AsyncOpenAI:
    """A client for many requests at once; it belongs to the event loop that it is first used in.

    Raises:
        BackendError: the key's environment variable is not set.
    """
    if service.api_version is not None:
        return openai.AsyncAzureOpenAI(azure_endpoint=address(service), max_retries=0, **_options(service))
    connections = openai.DefaultAsyncHttpxClient(trust_env=not _is_here(service))
    return openai.AsyncOpenAI(base_url=address(service), max_retries=0, http_client=connections, **_options(service))


def address(service: ServiceConfig) -> str:
    """Where the service is."""
    return service.base_url or OPENAI


def _is_here(service: ServiceConfig) -> bool:
    """Whether the service is on this machine, which no proxy that the environment names has to be asked for."""
    return urlsplit(address(service)).hostname in ("localhost", "127.0.0.1", "::1")


def _options(service: ServiceConfig) -> dict[str, Any]:
    options: dict[str, Any] = {"api_key": _key(service), "timeout": service.timeout}
    if service.api_version is not None:
        options["api_version"] = service.api_version
    return options


def _key(service: ServiceConfig) -> str:
    keep_secret(service.api_key_env)
    key = os.environ.get(service.api_key_env, "").strip()
    if not key and (service.base_url is None or service.api_version is not None):
        raise BackendError(
            f"{address(service)} wants a key: set the environment variable {service.api_key_env}, "
            "or name another one in backend.service.api_key_env"
        )
    if not re.fullmatch(r"[ -~]*", key):  # the message does not repeat it
        raise BackendError(
            f"the environment variable {service.api_key_env} holds a character that no key has: "
            "a line break inside, or one that is no ASCII"
        )
    return key or "none"  # servers of one's own want none, and the client wants some text
