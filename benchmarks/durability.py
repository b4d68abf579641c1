"""What it costs that nothing is lost: marks and sums of lines, `fsync`, and the SHA-256 of files.

python -m benchmarks.durability            measures, keeps the figures, and writes them into docs/promises.md
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT, measured_on, write_part
from benchmarks.scale import machine
from semievol.records import Message, Request, Response
from semievol.run_folder.journal import SYNC, Journal
from semievol.run_folder.sums import sum_of

KEPT = ROOT / "benchmarks/results/faults/durability.json"
PAGE = ROOT / "docs/promises.md"
ANSWERS = 20_000
REPEATS = 5
MEGABYTES = 256


def measure(folder: Path) -> dict[str, Any]:
    """Medians of several repeats: microseconds an answer, milliseconds a sync, megabytes a second."""
    words = "word " * 200
    requests = [
        Request(f"row-{n}/warm+0", (Message(role="user", content=f"{words}{n}"),), "warm") for n in range(ANSWERS)
    ]
    large = folder / "large"
    large.write_bytes(os.urandom(2**20) * MEGABYTES)
    with (folder / "line").open("ab", buffering=0) as handle:

        def sync() -> None:
            handle.write(b"x" * 500)
            os.fsync(handle.fileno())

        syncs = [_seconds(sync) for _ in range(50)]
    return {
        "answers": ANSWERS,
        "line_us": round(_median(lambda: _write(folder, requests, marked=False)) / ANSWERS * 1e6, 1),
        "marked_line_us": round(_median(lambda: _write(folder, requests, marked=True)) / ANSWERS * 1e6, 1),
        "sync_ms": round(statistics.median(syncs) * 1e3, 2),
        "sync_every_s": SYNC,
        "sum_mb_per_s": round(MEGABYTES / _median(lambda: sum_of(large))),
        "machine": machine(),
    }


def _write(folder: Path, requests: list[Request], marked: bool) -> None:
    journal = Journal(folder / "part-00000.jsonl")
    with journal.writer(requests if marked else ()) as write:
        for request in requests:
            write(Response(request.id, "sport", (-0.1, -0.2, -0.3), "stop", 200, 3))
    journal.remove()


def _median(work: Callable[[], object]) -> float:
    return statistics.median(_seconds(work) for _ in range(REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def page(kept: dict[str, Any]) -> str:
    """The figures in words."""
    return (
        f"A line of a journal takes {kept['marked_line_us']} µs, of which the mark of what was asked (a prompt of 200 "
        f"words) takes {kept['marked_line_us'] - kept['line_us']:.1f} µs; bringing lines to the disk takes "
        f"{kept['sync_ms']} ms, once in {kept['sync_every_s']:g} s; sums are computed at {kept['sum_mb_per_s']:,} MB "
        f"a second, each time a run begins. {measured_on(kept['machine'])}"
    )


def main() -> None:
    """Measures and writes."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        kept = measure(Path(folder))
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    write_part(PAGE, "durability", page(kept))


if __name__ == "__main__":
    main()
