"""One repetition of collaborate, justify and score by one way: its seconds, its tokens, its answers."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from semievol.plugins import implementation
from semievol.records import Request, Response

from .lanes import peak_memory
from .workloads import Workload

WAYS = {
    "ours": ("benchmarks.speed.ours:Ours", None),
    "naive": ("benchmarks.speed.naive:Naive", None),
    "tuned": ("benchmarks.speed.library:Tuned", None),
    "vllm": ("benchmarks.speed.vllm_cpu:VLLM", None),
}
"""The first is what the others are held against."""


class Way(Protocol):
    """A way to answer requests."""

    loading: float
    """Seconds spent loading and merging weights since the last `open`."""

    def __init__(self, workload: Workload, options: dict[str, Any]) -> None:
        """Holds on to what it needs."""

    def open(self) -> None:
        """Loads what is loaded once."""

    def answer(self, requests: Sequence[Request]) -> list[Response]:
        """A response for each request, in any order."""

    def close(self) -> None:
        """Frees what is loaded."""


@cache
def opened(name: str, folder: Path, options: tuple[tuple[str, Any], ...]) -> Way:
    """The way, loaded, after its first two answers; the same one for the same arguments."""
    way: Way = implementation("way", name, WAYS)(Workload(folder), dict(options))
    way.open()
    way.answer(Workload(folder).requests()["collaborate"][:2])  # threads start, lazy imports are done
    return way


def settle(name: str, folder: Path, options: tuple[tuple[str, Any], ...]) -> None:
    """Answers two requests, so that the first repetition is like the others.

    Raises:
        MissingExtraError, ConfigError: the way's library is not installed.
    """
    opened(name, folder, options)


def repetition(name: str, folder: Path, options: tuple[tuple[str, Any], ...], number: int) -> dict[str, Any]:
    """All three stages' requests answered; the weights are loaded anew.

    `seconds` is everything; `loading` is the part of it in which weights were loaded and merged.
    """
    way, asked = opened(name, folder, options), Workload(folder).requests(number)
    way.close()
    before = counters(way)
    started = time.perf_counter()
    way.open()
    stages: dict[str, float] = {}
    responses: list[Response] = []
    for stage, requests in asked.items():
        began, loaded = time.perf_counter(), way.loading
        responses += way.answer(requests)
        stages[stage] = time.perf_counter() - began - (way.loading - loaded)
    return {
        "seconds": time.perf_counter() - started,
        "loading": way.loading,
        "stages": stages,
        "completion_tokens": sum(one.completion_tokens for one in responses if one.finish != "scored"),
        "counters": {key: value - before.get(key, 0) for key, value in counters(way).items()},
        "texts": {one.id: one.text for one in responses if one.finish != "scored"},
        "mean_nll": {one.id: one.mean_nll for one in responses if one.finish == "scored"},
        "peak_memory_mb": peak_memory(),
    }


def greedy(name: str, folder: Path, options: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    """The collaborators' greedy answers by request id."""
    requests = Workload(folder).requests(greedy=True)["collaborate"]
    return {one.id: one.text for one in opened(name, folder, options).answer(requests)}


def prefill(folder: Path) -> dict[str, Any]:
    """The seconds in which our engine computes the collaborators' prompts and draws one token of each answer."""
    way = opened("ours", folder, ())
    requests = Workload(folder).requests(greedy=True)["collaborate"]
    requests = [replace(one, sampling=replace(one.sampling, max_tokens=1)) for one in requests]
    before = counters(way)
    started = time.perf_counter()
    way.answer(requests)
    return {
        "seconds": time.perf_counter() - started,
        "counters": {key: value - before.get(key, 0) for key, value in counters(way).items()},
    }


def counters(way: Any) -> dict[str, float]:
    """What our engine has counted so far (tokens computed, padding, passes); empty for the other ways."""
    return asdict(way.backend.work) if hasattr(way, "backend") else {}
