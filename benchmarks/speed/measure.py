"""One workload measured: the ways one after another in each repetition, each in its own process."""

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from semievol.backends.transformers import batch_tokens

from . import answering, training
from .lanes import Lane
from .limit import forward_flop, model_shape, rates, training_flop
from .machine import machine
from .sameness import difference, nll_difference, same_share, samples
from .workloads import Size, Workload, prepare

T = TypeVar("T")
Log = Callable[[str], None]
RATE_SECONDS = 1.0


def measure(
    name: str, size: Size, folder: Path, repetitions: int, naive_tokens: int | None, log: Log
) -> dict[str, Any]:
    """Everything about one workload, as it is kept.

    Args:
        naive_tokens: the longest answer of the naive way; the config's `collaborate.max_tokens` if it is not set.
    """
    log(f"{name}: preparing")
    with Lane() as lane:
        facts = lane(prepare, name, size, folder)
        where = lane(machine)
        cap = lane(_max_tokens, folder)
    answers = answer_all(folder, repetitions, naive_tokens, log)
    trained = train_all(folder, repetitions, log)
    with Lane() as lane:
        checks = lane(_checks, folder, answers)
        flop = lane(_flop, folder, facts)
    for each in answers["ways"].values():
        for one in each:
            del one["texts"], one["mean_nll"]
    return {
        "machine": where,
        "dtype": facts["dtype"],
        "settings": {**facts["settings"], "repetitions": repetitions, "naive_tokens": naive_tokens or cap},
        "counts": {key: facts[key] for key in facts if "tokens" in key or key == "requests"},
        "flop": flop,
        "answering": answers["ways"],
        "missing": answers["missing"],
        "prefill": answers["prefill"],
        "rates": answers["rates"],
        "training": trained,
        "checks": checks,
    }


def answer_all(folder: Path, repetitions: int, naive_tokens: int | None, log: Log) -> dict[str, Any]:
    """All repetitions of all ways, with the prefill of ours and the machine's rate measured beside each of them."""
    options = (("naive_tokens", naive_tokens),)
    missing = {} if importlib.util.find_spec("vllm") else {"vllm": "not installed"}
    ways = [way for way in answering.WAYS if way not in missing]
    found: dict[str, Any] = {"ways": {way: [] for way in ways}, "missing": missing, "prefill": [], "rates": []}
    with ExitStack() as stack:
        lanes = {way: stack.enter_context(Lane()) for way in (*ways, "limit")}
        for way in ways:
            lanes[way](answering.settle, way, folder, () if way == "ours" else options)
        for number in range(repetitions):
            for way in rotated(ways, number):
                one = lanes[way](answering.repetition, way, folder, () if way == "ours" else options, number)
                found["ways"][way].append(one)
                log(f"  answering {number + 1}/{repetitions} {way}: {one['seconds']:.1f} s")
                if way == "ours":
                    found["rates"].append(lanes["limit"](_rates, folder))
                    found["prefill"].append(lanes["ours"](answering.prefill, folder))
        found["greedy"] = {
            way: lanes[way](answering.greedy, way, folder, () if way == "ours" else options)
            for way in ways
            if way != "naive"
        }
    return found


def train_all(folder: Path, repetitions: int, log: Log) -> dict[str, Any]:
    """All repetitions of all trainings, and how far their loss curves lie from ours."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in training.WAYS}
    rates: list[dict[str, float]] = []
    with ExitStack() as stack:
        limit = stack.enter_context(Lane())
        lanes = {way: stack.enter_context(Lane()) for way in training.WAYS}
        for way, lane in lanes.items():
            lane(training.train, way, folder, SETTLE_ROWS)
        for number in range(repetitions):
            for way in rotated(list(training.WAYS), number):
                one = lanes[way](training.train, way, folder)
                found[way].append(one)
                log(f"  training {number + 1}/{repetitions} {way}: {one['seconds']:.1f} s")
                if way == "ours":
                    rates.append(limit(_training_rates, folder))
    curves = {
        way: difference(found["ours"][0]["losses"], each[0]["losses"]) for way, each in found.items() if way != "ours"
    }
    return {"ways": found, "rates": rates, "loss_difference": curves}


SETTLE_ROWS = 9
"""Rows of the training before the timed ones: two steps at the recipes' batch sizes."""


def rotated(ways: Sequence[T], number: int) -> list[T]:
    """The ways in another order in each repetition, so that none always stands behind the same other."""
    start = number % len(ways)
    return [*ways[start:], *ways[:start]]


def _max_tokens(folder: Path) -> int:
    return Workload(folder).config.longest


def _rates(folder: Path) -> dict[str, float]:
    """With the rows of a full batch of answers."""
    workload = Workload(folder)
    return rates(workload, batch_tokens(workload.config), RATE_SECONDS)


def _training_rates(folder: Path) -> dict[str, float]:
    """With the rows of a mean batch of the training."""
    workload = Workload(folder)
    mean = workload.facts["training_tokens"] / len(workload.facts["training"])
    return rates(workload, round(mean * workload.config.training.per_device_train_batch_size), RATE_SECONDS)


def _flop(folder: Path, facts: dict[str, Any]) -> dict[str, float]:
    """FLOP a token of prefill and of training on this workload's mix of lengths."""
    workload = Workload(folder)
    shape = model_shape(workload)
    tokens, requests = facts["tokens_requested"]["collaborate"], facts["requests"]["collaborate"]
    trained, rows = facts["training_tokens"], len(facts["training"])
    rank = workload.config.training.lora_r
    return {
        "prefill_token": forward_flop(shape, tokens, requests, tokens / requests) / tokens,
        "training_token": training_flop(shape, trained, facts["training_answer_tokens"], trained / rows, rank)
        / trained,
    }


def _checks(folder: Path, answers: dict[str, Any]) -> dict[str, Any]:
    ways, greedy = answers["ways"], answers["greedy"]
    return {
        "greedy": {way: same_share(greedy["ours"], greedy[way]) for way in greedy if way != "ours"},
        "samples": {way: samples(folder, [one["texts"] for one in each]) for way, each in ways.items()},
        "mean_nll": {
            way: nll_difference(ways["ours"][0]["mean_nll"], each[0]["mean_nll"])
            for way, each in ways.items()
            if way != "ours"
        },
    }
