"""List prices of services, with their date and source. They change: `costs.prices` in the config overrides them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from semievol.config import Config, ServiceConfig

MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens; `None` if it is not known."""

    input: float | None = None
    output: float | None = None
    tuned_input: float | None = None
    """Of models that were trained from the base model."""
    tuned_output: float | None = None
    training: float | None = None
    batch: float = 1.0
    """Share of the price of prompts and answers that the batch mode costs."""
    source: str = ""
    """Where the figures stand, and of which day they are."""

    def in_batches(self) -> "Price":
        """The price of the batch mode."""
        names = ("input", "output", "tuned_input", "tuned_output")
        prices = {name: getattr(self, name) for name in names}
        return replace(self, **{name: price and price * self.batch for name, price in prices.items()})

    def answering(self, weights: str) -> tuple[float | None, float | None]:
        """Of a prompt's and an answer's tokens, for the base model or one trained from it."""
        return (self.input, self.output) if weights == "base" else (self.tuned_input, self.tuned_output)


OVERRIDDEN = "costs.prices in the config"
OPENAI = "developers.openai.com/api/docs/pricing, as of 2026-08-05"
TOGETHER = "together.ai/pricing (LoRA, models up to 16B), as of 2026-09-11"

# The page's batch prices of tuned gpt-4o are not half of the others, and the bound is the full price.
_GPT_4O_MINI = Price(0.15, 0.60, 0.30, 1.20, 3.00, 0.5, OPENAI)
_GPT_4O = Price(2.50, 10.00, 3.75, 15.00, 25.00, 1.0, OPENAI)
_GPT_4_1 = Price(2.00, 8.00, 3.00, 12.00, 25.00, 0.5, OPENAI)
_GPT_4_1_MINI = Price(0.40, 1.60, 0.80, 3.20, 5.00, 0.5, OPENAI)

LIST_PRICES: Mapping[str, Mapping[str, Price]] = {
    "api.openai.com": {
        "gpt-4o-mini": _GPT_4O_MINI,
        "gpt-4o-mini-2024-07-18": _GPT_4O_MINI,
        "gpt-4o": _GPT_4O,
        "gpt-4o-2024-08-06": _GPT_4O,
        "gpt-4.1": _GPT_4_1,
        "gpt-4.1-2025-04-14": _GPT_4_1,
        "gpt-4.1-mini": _GPT_4_1_MINI,
        "gpt-4.1-mini-2025-04-14": _GPT_4_1_MINI,
    },
    # What tuned models cost there is the rent of the endpoint that serves them, by the minute.
    "api.together.ai": {
        "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference": Price(training=0.48, source=TOGETHER),
        "meta-llama/Meta-Llama-3.1-8B-Reference": Price(training=0.48, source=TOGETHER),
    },
}
"""Host -> model -> its price there."""

SAME_HOST: Mapping[str, str] = {"api.together.xyz": "api.together.ai"}


def price_of(config: Config) -> Price | None:
    """What the run's model costs at its services: `costs.prices`, then the list prices; `None` if nothing is known.

    Prompts and answers cost what `backend.service` takes in its mode, trainings what the service takes that trains.
    """
    answering = _listed(config.backend.service, config.model.name)
    training = _listed(config.recipe("evolve").hosted.service or config.backend.service, config.model.name)
    overrides = {name: value for name, value in config.costs.prices.model_dump().items() if value is not None}
    sources = dict.fromkeys(price.source for price in (answering, training) if price is not None)
    if not overrides and not sources:
        return None
    listed = replace(answering or Price(), training=training.training if training else None)
    price = replace(listed, **overrides, source=", and ".join([*sources, *([OVERRIDDEN] if overrides else [])]))
    return price.in_batches() if config.backend.service.mode == "batch" else price


def _listed(service: ServiceConfig, model: str) -> Price | None:
    host = urlsplit(service.base_url).hostname if service.base_url else "api.openai.com"
    return LIST_PRICES.get(SAME_HOST.get(host or "", host or ""), {}).get(model)


def dollars(tokens: int, price: float | None) -> float | None:
    """The cost of tokens at a price per million."""
    return None if price is None else tokens * price / MILLION
