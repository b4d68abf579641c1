"""What providers share: the client of a service, and its refusals in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from semievol.backends.service.clients import open_client
from semievol.backends.service.failures import NO_ANSWER, of_error
from semievol.config import ServiceConfig
from semievol.errors import SemiEvolError, TrainingError
from semievol.training.hosted import Unanswered

RETRIES = 2
"""How often a look at a file or job is repeated by the client itself."""


def connect(service: ServiceConfig, base_url: str | None = None) -> openai.OpenAI:
    """A client of the service.

    Args:
        base_url: where the provider is, if the config does not say.
    """
    if service.base_url is None and base_url is not None:
        service = service.model_copy(update={"base_url": base_url})
    return open_client(service, RETRIES)


@contextmanager
def answered(doing: str, closed_reason: str | None = None) -> Iterator[None]:
    """Turns what the service refuses into a `TrainingError` with its own message, what it does not answer into another.

    Args:
        doing: what was asked, for the message.
        closed_reason: what is to be said of a service that lets nobody train any more.
    """
    try:
        yield
    except SemiEvolError:
        raise
    except (openai.APIError, *NO_ANSWER) as error:
        failure = of_error(error)
        message = f"{doing}: {failure.reason}"
        if failure.kind in ("again", "overloaded"):
            raise Unanswered(message) from error
        raise TrainingError(
            f"{message}\n{closed_reason}" if failure.status == 403 and closed_reason else message
        ) from error
