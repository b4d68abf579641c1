"""Options of what services may charge."""

from typing import Annotated

from pydantic import Field

from semievol.config.section import Section, Share

Dollars = Annotated[float, Field(ge=0)]


class PriceConfig(Section):
    """Dollars per million tokens of `model.name`, if they differ from the list prices or those do not have it."""

    input: Dollars | None = None
    """Prompts to the base model."""
    output: Dollars | None = None
    """Answers of the base model."""
    tuned_input: Dollars | None = None
    """Prompts to models that were trained from it."""
    tuned_output: Dollars | None = None
    """Answers of models that were trained from it."""
    training: Dollars | None = None
    """Tokens of a training, all epochs together."""
    batch: Share | None = None
    """Share of the prices of prompts and answers that `backend.service.mode: batch` costs."""


class CostsConfig(Section):
    """What services may charge for a run. Only services are counted, not this machine."""

    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Dollars that the run may cost, all its sessions together; the run stops before a request or a training that
    could pass them. `--max-cost` on the command line. For `compare` and `experiment` all runs of the grid together."""
    prices: PriceConfig = PriceConfig()
