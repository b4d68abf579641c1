"""What the Ray executor costs and gains, on a Ray cluster of this machine that the runs find.

python -m benchmarks.cluster             everything, about a quarter of an hour on 2 cores; keeps the figures
python -m benchmarks.cluster --quick     does it still run; prints, keeps nothing
python -m benchmarks.cluster --table     only writes the table of docs/ray.md from what is kept
"""

import argparse
import json
import os
import statistics
from typing import Any

import ray

from benchmarks.pages import ROOT, measured_on, write_part
from benchmarks.scale import machine, measure_run

RESULTS = ROOT / "benchmarks" / "results" / "cluster.json"
PAGE = ROOT / "docs" / "ray.md"
PART = "measured table"
"""Of that page."""

WAITING = ("backend.kind=benchmarks.waiting:WaitingBackend", "executor.shard_rows=16", "data.test_rows=16")
STAGES = ("collaborate", "justify")


def on_ray(workers: int) -> tuple[str, ...]:
    """Options for so many workers, whatever cores the machine has."""
    return ("executor.kind=ray", f"executor.ray.workers={workers}", "executor.ray.num_cpus=0.25")


def scaling(rows: int, repetitions: int) -> dict[str, Any]:
    """Seconds with an engine that waits, by one worker and by four.

    Workers start in collaborate and are there in justify.
    """
    found: dict[str, dict[str, list[float]]] = {stage: {"1": [], "4": []} for stage in STAGES}
    for _ in range(repetitions):
        for workers in ("1", "4"):
            run = measure_run(rows, "none", [*WAITING, *on_ray(int(workers))])
            for stage, seconds in found.items():
                seconds[workers].append(run["stages"][stage])
            print(f"{workers} workers: {run['stages']}", flush=True)
    ratios = {
        stage: sorted(round(one / four, 2) for one, four in zip(seconds["1"], seconds["4"], strict=True))
        for stage, seconds in found.items()
    }
    return {"rows": rows, "seconds": found, "ratios": ratios}


def overhead(rows: int, repetitions: int) -> dict[str, Any]:
    """Seconds of two stages with the fake engine, inline and by one worker; what Ray adds to a shard of 256 rows."""
    found: dict[str, list[float]] = {"inline": [], "ray": []}
    for _ in range(repetitions):
        for kind, options in (("inline", ()), ("ray", on_ray(1))):
            run = measure_run(rows, "none", options)
            found[kind].append(round(sum(run["stages"][stage] for stage in STAGES), 1))
            print(f"{kind}: {found[kind][-1]:.1f} s", flush=True)
    shards = len(STAGES) * -(-rows // 256)
    each = [1000 * (ray - inline) / shards for inline, ray in zip(found["inline"], found["ray"], strict=True)]
    return {
        "rows": rows,
        "shards": shards,
        "seconds": found,
        "milliseconds_a_shard": [round(ms, 1) for ms in sorted(each)],
    }


def many(rows: int) -> dict[str, Any]:
    """A whole run over many rows by two workers."""
    run = measure_run(rows, "none", on_ray(2))
    print(f"{rows:,} rows: {run['collaborate_rows_a_second']:,} rows a second", flush=True)
    return run


def table(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    scaled, cost, runs = found["scaling"], found["overhead"], found["many"]
    ms = cost["milliseconds_a_shard"]
    lines = [
        "| what | measured |",
        "|---|---|",
        *(
            f"| four workers over one, an engine that waits 20 ms an answer, {words}, {scaled['rows']:,} rows in "
            f"shards of 16 | {statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            for words, ratios in (
                ("their start included", scaled["ratios"]["collaborate"]),
                ("workers that are there", scaled["ratios"]["justify"]),
            )
        ),
        f"| what one worker adds to the inline executor, its start included, for each of {cost['shards']} "
        f"shards of 256 rows | {statistics.median(ms):.0f} ms ({ms[0]:.0f} to {ms[-1]:.0f}) |",
    ]
    for run in runs:
        lines.append(
            f"| {run['rows']:,} rows, four collaborators, two workers, fake engine | collaborate "
            f"{run['collaborate_rows_a_second']:,} rows a second; whole run {run['seconds']:.0f} s; the driver's peak "
            f"memory {run['peak_memory_mb']} MB |"
        )
    lines += ["", measured_on(found["machine"])]
    return "\n".join(lines)


def measured(quick: bool) -> dict[str, Any]:
    """All of it, on one cluster."""
    context = ray.init(num_cpus=4, include_dashboard=False, logging_level="error", log_to_driver=False)
    os.environ["RAY_ADDRESS"] = context.address_info["gcs_address"]
    if quick:
        parts = {"scaling": scaling(64, 1), "overhead": overhead(512, 1), "many": [many(1000)]}
    else:
        parts = {
            "scaling": scaling(768, 3),
            "overhead": overhead(50_000, 3),
            "many": [many(100_000), many(1_000_000)],
        }
    return {"machine": machine(), **parts}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    if chosen.quick:
        print(table(measured(quick=True)))
        return
    if not chosen.table:
        RESULTS.write_text(json.dumps(measured(quick=False), indent=2) + "\n", encoding="utf-8")
    made = table(json.loads(RESULTS.read_text(encoding="utf-8")))
    write_part(PAGE, PART, made)
    print(made)


if __name__ == "__main__":
    main()
