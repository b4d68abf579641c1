"""The connection that providers share: the `openai` client, and its errors in our words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import openai

from semievol.config import ServiceConfig
from semievol.errors import ConfigError, TrainingError
from semievol.training.hosted import Unanswered

CLOSED = "training_not_available"
"""OpenAI's code for an organisation that may start no fine-tuning any more."""


def connect(service: ServiceConfig, base_url: str | None = None) -> openai.OpenAI:
    """A client of the service.

    Args:
        base_url: where the provider is, if the config does not say.

    Raises:
        ConfigError: the environment variable with the key is not set.
    """
    key = os.environ.get(service.api_key_env)
    if not key:
        raise ConfigError(f"training.hosted: the environment variable {service.api_key_env} holds no key; set it")
    address = service.base_url or base_url
    if service.api_version is not None:
        if address is None:
            raise ConfigError("backend.service.api_version needs base_url, the address of the Azure resource")
        return openai.AzureOpenAI(
            api_key=key, api_version=service.api_version, azure_endpoint=address, timeout=service.timeout
        )
    return openai.OpenAI(api_key=key, base_url=address, timeout=service.timeout)


@contextmanager
def answered(doing: str, closed: str | None = None) -> Iterator[None]:
    """Turns what the service refuses into a `TrainingError` with its own message, what it does not answer into another.

    Args:
        doing: what was asked, for the message.
        closed: what is to be said of a service that lets nobody train any more.
    """
    try:
        yield
    except openai.APIConnectionError as error:
        raise Unanswered(f"{doing}: the service cannot be reached: {error.__cause__ or error}") from error
    except openai.APIStatusError as error:
        said = f"{doing}: the service answered {error.status_code}: {_message(error)}"
        busy = error.status_code == 429 and error.code != "insufficient_quota"
        if busy or error.status_code in (408, 409) or error.status_code >= 500:
            raise Unanswered(said) from error
        if error.status_code == 403 and closed is not None:
            said = f"{said}\n{closed}"
        raise TrainingError(said) from error


def _message(error: openai.APIStatusError) -> str:
    """The service's own words."""
    if isinstance(error.body, dict):
        inner = error.body.get("error", error.body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        if message:
            return str(message)
    return error.message
