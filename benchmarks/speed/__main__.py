"""Measures the workloads, keeps the results, and rewrites the tables of `docs/speed.md`; `--help` lists the options."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import __doc__ as usage
from .lanes import Lane
from .measure import measure
from .table import RESULTS, rewrite, tables
from .workloads import CACHE, KINDS, QUICK, missing


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", choices=KINDS, action="append", help="measure this one only; may be repeated")
    parser.add_argument("--repetitions", type=int, default=5, help="of every way (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, help="unlabeled rows that are answered, instead of each workload's own number"
    )
    parser.add_argument("--train-rows", type=int, help="rows of the timed trainings, likewise")
    parser.add_argument(
        "--naive-tokens",
        type=int,
        help="longest answer of the naive way; the paper's program takes 1024, the default is the config's "
        "collaborate.max_tokens, which favours naive",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test: one small workload, one repetition")
    parser.add_argument("--table", action="store_true", help="only rewrite the tables from what is kept")
    return parser.parse_args(arguments)


def main(chosen: argparse.Namespace) -> None:
    """Measures what was chosen."""
    if chosen.table:
        rewrite()
        return
    names = chosen.workload or (["newsgroups"] if chosen.quick else list(KINDS))
    results = CACHE / "quick" if chosen.quick else RESULTS
    found: dict[str, Any] = {}
    for name in names:
        with Lane() as lane:
            reason = lane(missing, name)
        if reason is not None:
            log(f"{name}: skipped, {reason}")
            continue
        size = QUICK if chosen.quick else KINDS[name].size
        size = replace(size, rows=chosen.rows or size.rows, train_rows=chosen.train_rows or size.train_rows)
        repetitions = 1 if chosen.quick else chosen.repetitions
        folder = CACHE / (f"{name}-quick" if chosen.quick else name)
        found[name] = measure(name, size, folder, repetitions, chosen.naive_tokens, log)
        # The page is about processors; a GPU's results are kept beside them.
        keep(results / ("gpu" if "gpu" in found[name]["machine"] else "") / f"{name}.json", found[name])
    if found and not chosen.quick:
        rewrite()
    print(tables(found))


def keep(path: Path, result: dict[str, Any]) -> None:
    """Writes a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def log(line: str) -> None:
    """Says on the terminal how far it has come."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(options())
