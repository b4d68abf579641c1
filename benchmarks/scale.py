"""Runs many rows through the whole pipeline with the fake engine, and searches many vectors, in fresh processes.

python benchmarks/scale.py                     100,000 and 1,000,000 rows, then the search; keeps the figures
python benchmarks/scale.py --rows 20000        other sizes; prints, keeps nothing
python benchmarks/scale.py --table             the tables from what is kept
"""

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "scale.json"
SIZES = (100_000, 1_000_000)
RETRIEVALS = ("none", "bm25")
COLLABORATORS = 4
STAGES = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")
TOPICS = ("weather", "sport", "money", "health")
VOCABULARY = [f"w{number:04d}" for number in range(3000)]
PACKAGES = ("semievol", "numpy", "pyarrow", "bm25s", "faiss-cpu")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", help="sizes to measure instead of the kept ones")
    parser.add_argument("--retrieval", nargs="+", default=RETRIEVALS, choices=RETRIEVALS)
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    arguments = parser.parse_args()
    if arguments.table:
        print(tables(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    found = {
        "machine": machine(),
        "start": measure_start(),
        "runs": [measure_run(rows, kind) for kind in arguments.retrieval for rows in arguments.rows or SIZES],
    }
    if not arguments.rows:
        found["search"] = measure_search()
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(tables(found))


def measure_run(rows: int, retrieval: str) -> dict[str, Any]:
    """Seconds of each stage, from the end of the one before, and the peak memory of a whole `semievol run`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = write_run(folder, rows, retrieval)
        started = time.time()
        seconds, peak = run_process([sys.executable, "-m", "semievol.cli", "run", str(config)])
        run = folder / "run"
        ends = {"load": (run / "config.yaml").stat().st_mtime}
        ends |= {stage: (run / stage / "done.json").stat().st_mtime for stage in STAGES}
        ends["report"] = started + seconds
        kept = json.loads((run / "select" / "done.json").read_text(encoding="utf-8"))["kept"]
    stages = dict(zip(ends, (round(b - a, 1) for a, b in zip([started, *ends.values()], ends.values(), strict=False))))
    return {
        "rows": rows,
        "retrieval": retrieval,
        "collaborators": COLLABORATORS,
        "kept": kept,
        "seconds": round(seconds, 1),
        "stages": stages,
        "collaborate_rows_a_second": round(rows / max(stages["collaborate"], 0.1)),
        "peak_memory_mb": peak,
    }


def measure_start() -> dict[str, Any]:
    """The median time of five whole runs over 100 rows."""
    seconds = [measure_run(100, "none")["seconds"] for _ in range(5)]
    return {"rows": 100, "seconds": sorted(seconds)}


def run_process(command: list[str]) -> tuple[float, int]:
    """Wall-clock seconds and peak memory in MB of a process."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode()[-2000:])
    return time.monotonic() - started, round(usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024))


def write_run(folder: Path, rows: int, retrieval: str) -> Path:
    """A config over 200 labeled, `rows` unlabeled and 1,000 test rows of 25 words, which tell four topics apart."""
    for seed, (name, count) in enumerate({"labeled": 200, "test": 1000, "unlabeled": rows}.items()):
        write_topics(folder / f"{name}.csv", count, seed, answers=name != "unlabeled")
    retriever = {"enabled": False} if retrieval == "none" else {"kind": retrieval}
    config = {
        "output": str(folder / "run"),
        "data": {name: str(folder / f"{name}.csv") for name in ("labeled", "unlabeled", "test")}
        | {"columns": {"prompt": "text", "answer": "topic"}},
        "collaborate": {"n": COLLABORATORS},
        "retrieval": retriever,
        "training": {"kind": "fake"},
        "backend": {"kind": "fake"},
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


def write_topics(path: Path, rows: int, seed: int, answers: bool) -> None:
    """Five words of the topic's own 300, and twenty of all 3,000."""
    rng = random.Random(seed)
    own = {topic: VOCABULARY[300 * at : 300 * at + 300] for at, topic in enumerate(TOPICS)}
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "topic"] if answers else ["text"])
        for _ in range(rows):
            topic = rng.choice(TOPICS)
            text = " ".join(rng.choices(own[topic], k=5) + rng.choices(VOCABULARY, k=20))
            writer.writerow([text, topic] if answers else [text])


def machine() -> dict[str, Any]:
    """Where it was measured, and with what."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": name or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
