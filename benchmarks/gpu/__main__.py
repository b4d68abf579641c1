"""Measures training and answering on this machine's card, against PEFT, TRL and transformers.

python -m benchmarks.gpu           all of it: at most 8 minutes, and 75 GB of the card's memory
python -m benchmarks.gpu --tiny    tiny shapes, on a CPU too: that it runs through

The figures are kept under benchmarks/results/speed/gpu in a file with the card's name, and written after each part. A
part that would begin after `--limit` seconds is left out, and the file says so.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import answering, profile, sameness, training
from benchmarks.gpu.model import synchronize, written
from benchmarks.gpu.table import RESULTS
from benchmarks.gpu.work import FULL, TINY, long_rows, short_rows
from benchmarks.speed.machine import machine

PARTS = ("rate", "training, long", "training, short", "answering", "sameness", "profile")


def main() -> None:
    """Measures part after part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes")
    parser.add_argument("--limit", type=float, default=420, help="seconds after which no part begins")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which parts, by default all")
    parser.add_argument("--models", nargs="+", default=None, help="which shapes, by default 8B and 1B")
    parser.add_argument("--ours", action="store_true", help="our engine alone")
    parser.add_argument("--out", type=Path, help="the file; by default it has the card's name")
    options = parser.parse_args()
    models = options.models or (["tiny"] if options.tiny else ["8B", "1B"])
    kept = measured(models, options.parts, options.limit, options.out or _file(), options)
    print(json.dumps(_short(kept), indent=1))


def measured(
    models: list[str], parts: Sequence[str], limit: float, file: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures of models by part, written to a file after each."""
    began = time.monotonic()
    tiny: bool = options.tiny
    size, ways = TINY if tiny else FULL, ("ours",) if options.ours else ()
    kept: dict[str, Any] = {"machine": {**machine(), **card()}, "size": vars(size), "seconds": {}, "left_out": []}
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            for name in models if part != "rate" else models[:1]:
                if part in ("profile", "sameness") and name != models[0 if part == "profile" else -1]:
                    continue
                config = written(name, Path(folder) / name)
                work: dict[str, Callable[[], Any]] = {
                    "rate": partial(rate, 256 if tiny else 8192),
                    "training, long": partial(training.measure, config, long_rows(size), 1, ways),
                    "training, short": partial(training.measure, config, short_rows(size), size.together, ways),
                    "answering": partial(answering.measure, config, size, ours_alone=options.ours),
                    "profile": partial(profile.measure, config, size),
                    "sameness": partial(sameness.measure, config, size),
                }
                started = time.monotonic()
                if started - began > limit:
                    kept["left_out"].append(f"{part}, {name}")
                    _write(file, kept)
                    continue
                try:
                    kept.setdefault(part, {})[name] = work[part]()
                except Exception as error:  # the other parts are worth having
                    kept.setdefault(part, {})[name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
                kept["seconds"][f"{part}, {name}"] = round(time.monotonic() - started, 1)
                _write(file, kept)
                print(f"{part}, {name}: {kept['seconds'][f'{part}, {name}']} s", flush=True)
    return kept


def _write(file: Path, kept: dict[str, Any]) -> None:
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def card() -> dict[str, Any]:
    """The card's name, memory and driver, and what torch was built for."""
    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "gpu": properties.name,
        "gpu_memory_gb": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "driver": driver,
        "cuda": torch.version.cuda,
    }


def rate(side: int) -> dict[str, float]:
    """TFLOP/s of a square product in bfloat16: the median of twenty."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    found = []
    for _ in range(23):
        synchronize()
        started = time.perf_counter()
        one @ other
        synchronize()
        found.append(2 * side**3 / (time.perf_counter() - started))
    return {"square_tflops": round(statistics.median(found[3:]) / 1e12, 2)}


def _file() -> Path:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return RESULTS / f"{name.lower().replace(' ', '-')}.json"


def _short(kept: dict[str, Any]) -> dict[str, Any]:
    """All but the kernels."""
    return {part: figures for part, figures in kept.items() if part != "profile"}


if __name__ == "__main__":
    main()
