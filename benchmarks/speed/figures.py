"""Ratios and shares: the arithmetic between the raw seconds that are kept and the tables."""

from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
"""One workload as it is kept."""


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times longer they take, repetition by repetition."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def working(result: Result, way: str) -> list[float]:
    """Seconds of each repetition without the loading of weights."""
    return [one["seconds"] - one["loading"] for one in result["answering"][way]]


def computed(one: Result) -> float:
    """Tokens that our engine put through the model for the collaborators' prompts, without padding."""
    return float(one["counters"]["computed"] - one["counters"]["padding"])


def prefill_shares(result: Result, needed: bool = False) -> list[float]:
    """Our prefill's share of the matrix-product rate measured beside it, 0 to 1.

    Args:
        needed: count the tokens of the prompts' prefix tree instead of those that the engine computed.
    """
    shares = []
    for one, rate in zip(result["prefill"], result["rates"], strict=True):
        tokens = result["counts"]["tokens_needed"]["collaborate"] if needed else computed(one)
        shares.append(tokens * result["flop"]["prefill_token"] / one["seconds"] / rate["layer"])
    return shares


def training_rate(result: Result, way: str) -> list[float]:
    """Tokens a second of each repetition from the second step on; a step is taken to hold the mean."""
    tokens = result["counts"]["training_tokens"]
    return [tokens * (one["steps"] - 1) / one["steps"] / one["step_seconds"] for one in result["training"]["ways"][way]]


def training_shares(result: Result) -> list[float]:
    """Our training's share of the matrix-product rate measured beside it, 0 to 1, by the tokens that it computed."""
    shares = []
    for one, tokens, rate in zip(
        result["training"]["ways"]["ours"], training_rate(result, "ours"), result["training"]["rates"], strict=True
    ):
        computed = (
            tokens * (one["counters"]["computed"] - one["counters"]["padding"]) / result["counts"]["training_tokens"]
        )
        shares.append(computed * result["flop"]["training_token"] / rate["layer"])
    return shares
