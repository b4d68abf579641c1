"""All faults at full size, kept in benchmarks/results/faults: `make test-faults`.

    python -m faults [name ...] [--cases 100000] [--step 1] [--page]

Names choose kinds of faults; what other runs have kept of the others stays. `--page` writes the table of
docs/promises.md from what is kept, and tries nothing.
"""

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT, measured_on, write_part
from benchmarks.scale import machine

from faults import damage, inputs, operations, services, stores, trainings
from faults.tally import Tally

KEPT = ROOT / "benchmarks/results/faults/faults.json"
NO_VERDICTS = ("tried", "wrong", "seconds")
PAGE = ROOT / "docs/promises.md"


def kinds(folder: Path, cases: int, step: int) -> Mapping[str, tuple[Callable[[], Tally], tuple[str, ...]]]:
    """Every kind of faults: what tries it, and the verdicts that must not be."""
    os.environ.setdefault("OPENAI_API_KEY", "sk-of-a-service-that-is-on-this-machine")

    def reader(suffix: str) -> Callable[[], Tally]:
        return lambda: inputs.try_reader(suffix, folder, cases)

    def parser(name: str) -> Callable[[], Tally]:
        return lambda: inputs.try_parser(name, cases)

    return {
        "kills": (lambda: operations.try_kills(folder / "kills", step), operations.WRONG),
        "refusals": (lambda: operations.try_refusals(folder / "refusals", step), operations.WRONG),
        "trainings": (lambda: trainings.try_trainings(folder / "trainings", step), trainings.WRONG),
        "damages": (lambda: damage.try_damages(folder / "damages"), damage.WRONG),
        "bodies": (lambda: services.try_bodies(folder, min(cases, 60_000)), services.WRONG),
        "services": (lambda: services.try_runs(folder / "services", 60), services.WRONG),
        **{f"reader {suffix}": (reader(suffix), inputs.WRONG) for suffix in inputs.FORMATS},
        **{f"parser {name}": (parser(name), inputs.WRONG) for name in inputs.TASKS},
        "configs": (lambda: inputs.try_configs(folder, cases), inputs.WRONG),
        "store": (lambda: stores.try_store(folder / "store", step * 10), stores.WRONG),
    }


def page(kept: Mapping[str, Any]) -> str:
    """The table of what was tried, and what came of it."""
    lines = ["| fault | tried | wrong | came to |", "|---|---|---|---|"]
    for name, figures in kept["kinds"].items():
        outcomes = {
            verdict: count for verdict, count in figures.items() if verdict not in ("tried", "wrong", "seconds")
        }
        came_to = ", ".join(f"{count:,} {verdict}" for verdict, count in outcomes.items())
        lines.append(f"| {name} | {figures['tried']:,} | {figures['wrong']:,} | {came_to} |")
    return "\n".join([*lines, "", measured_on(kept["machine"])])


def main() -> int:
    """The exit status: 1 if anything came out wrong."""
    parser = argparse.ArgumentParser(prog="python -m faults")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--cases", type=int, default=100_000, help="of each reader and parser")
    parser.add_argument("--step", type=int, default=1, help="1: every operation on files, every 10th call")
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"kinds": {}}
    if arguments.page:
        write_part(PAGE, "faults", page(kept))
        return 0
    logging.disable(logging.CRITICAL)
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        chosen = kinds(Path(scratch), arguments.cases, arguments.step)
        for name, (tried, verdicts) in chosen.items():
            if arguments.names and name not in arguments.names:
                continue
            (Path(scratch) / name).mkdir(exist_ok=True)
            start = time.monotonic()
            tally = tried()
            wrong += tally.of(*verdicts)
            seconds = round(time.monotonic() - start)
            kept["kinds"][name] = {**tally.as_dict(), "wrong": tally.of(*verdicts), "seconds": seconds}
            print(f"{name}: {kept['kinds'][name]}\n{tally.why(*verdicts)}".rstrip(), flush=True)
            kept["kinds"] = {known: kept["kinds"][known] for known in chosen if known in kept["kinds"]}
            kept["machine"] = machine()
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"wrong: {wrong}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
