"""Naive as long-winded as the paper's program, whose answers may go on for 1,024 tokens.

`python -m benchmarks.speed.free`: the collaborators' answers of the newsgroups workload by both, once. Takes some
minutes on 2 cores; keeps its figures beside those of `python -m benchmarks.speed`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .answering import opened
from .lanes import Lane
from .machine import machine
from .table import FREE_KEPT, rewrite
from .workloads import CACHE, KINDS, QUICK, Workload, prepare

NAME = "newsgroups"
TOKENS = 1024
"""Of an answer, at most, in the paper's program."""


def collaborated(way: str, folder: Path, options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Seconds without loading, and generated tokens, of the collaborators' answers."""
    answering, requests = opened(way, folder, options), Workload(folder).requests()["collaborate"]
    loaded, started = answering.loading, time.perf_counter()
    responses = answering.answer(requests)
    seconds = time.perf_counter() - started - (answering.loading - loaded)
    return {"seconds": seconds, "completion_tokens": sum(one.completion_tokens for one in responses)}


def measured(folder: Path, quick: bool) -> dict[str, Any]:
    """Both ways, each in a process of its own."""
    tokens = 64 if quick else TOKENS
    with Lane() as lane:
        facts = lane(prepare, NAME, QUICK if quick else KINDS[NAME].size, folder)
        found = {"machine": lane(machine), "tokens": tokens, "requests": facts["requests"]["collaborate"]}
    for way, options in (("ours", ()), ("naive", (("naive_tokens", tokens),))):
        with Lane() as lane:
            found[way] = lane(collaborated, way, folder, options)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and keeps."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.free", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test on a few rows; keeps nothing")
    quick = parser.parse_args(arguments).quick
    found = measured(CACHE / (f"{NAME}-quick" if quick else NAME), quick)
    print({key: value for key, value in found.items() if key != "machine"})
    if not quick:
        FREE_KEPT.parent.mkdir(parents=True, exist_ok=True)
        FREE_KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        rewrite()


if __name__ == "__main__":
    main()
