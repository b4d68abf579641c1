"""Runs many rows through the whole pipeline with the fake engine, and searches many vectors, in fresh processes.

python -m benchmarks.scale                 100,000 and 1,000,000 rows, then the search; keeps the figures
python -m benchmarks.scale --rows 20000    another size, without retrieval and with BM25; prints, keeps nothing
python -m benchmarks.scale --table         only writes the tables of docs/scale.md from what is kept
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
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT, measured_on, write_part

RESULTS = Path(__file__).parent / "results" / "scale.json"
PAGE = ROOT / "docs" / "scale.md"
RUNS = (("none", 100_000), ("none", 1_000_000), ("bm25", 100_000))
COLLABORATORS = 4
STAGES = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")
TOPICS = ("weather", "sport", "money", "health")
VOCABULARY = [f"w{number:04d}" for number in range(3000)]
PACKAGES = ("semievol", "numpy", "pyarrow", "bm25s", "faiss-cpu")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="a size to measure instead of those that are kept")
    parser.add_argument("--table", action="store_true", help="only write the tables from what is kept")
    arguments = parser.parse_args()
    if arguments.table:
        write_pages()
        return
    runs = [(kind, arguments.rows) for kind in ("none", "bm25")] if arguments.rows else RUNS
    found = {
        "machine": machine(),
        "start": measure_start(),
        "runs": [measure_run(rows, kind) for kind, rows in runs],
    }
    if not arguments.rows:
        found["search"] = measure_search()
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        write_pages()
        print(search_table(found))
    print(runs_table(found))


def measure_run(rows: int, retrieval: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds of each stage, from the end of the one before, and the peak memory of a whole `semievol run`.

    Args:
        options: of the config, as `--set` takes them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = write_run(folder, rows, retrieval)
        started = time.time()
        seconds, cpu_seconds, peak = run_process(
            [
                sys.executable,
                "-m",
                "semievol.cli",
                "run",
                str(config),
                *(word for one in options for word in ("--set", one)),
            ]
        )
        run = folder / "run"
        ends = {"load": (run / "config.yaml").stat().st_mtime}
        ends |= {stage: (run / stage / "done.json").stat().st_mtime for stage in STAGES}
        ends["report"] = started + seconds
        kept = json.loads((run / "select" / "done.json").read_text(encoding="utf-8"))["kept"]
    times = [started, *ends.values()]
    stages = {stage: round(end - begin, 1) for stage, (begin, end) in zip(ends, pairwise(times), strict=True)}
    return {
        "rows": rows,
        "retrieval": retrieval,
        "collaborators": COLLABORATORS,
        "kept": kept,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "stages": stages,
        "collaborate_rows_a_second": round(rows / max(stages["collaborate"], 0.1)),
        "peak_memory_mb": peak,
    }


def measure_start() -> dict[str, Any]:
    """The median time of five whole runs over 100 rows."""
    seconds = [measure_run(100, "none")["seconds"] for _ in range(5)]
    return {"rows": 100, "seconds": sorted(seconds)}


def run_process(command: list[str]) -> tuple[float, float, int]:
    """Wall-clock seconds, seconds on a core, and peak memory in MB of a process."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode()[-2000:])
    peak = usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, round(peak)


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


def measure_search(labeled: int = 100_000, prompts: int = 1_000_000, size: int = 384) -> dict[str, Any]:
    """Seconds to find 3 of `labeled` unit vectors for `prompts` others, 256 at a time as shards ask, from a sample.

    The vectors are topics with noise, so that they fall into clusters as sentence embeddings do.
    """
    code = (
        "import json, resource, sys, time, faiss, numpy as np\n"
        "from semievol.retrieval.dense import index_of\n"
        "labeled, size = int(sys.argv[1]), int(sys.argv[2])\n"
        "rng = np.random.default_rng(0)\n"
        "topics = rng.standard_normal((500, size), dtype=np.float32)\n"
        "def vectors(n):\n"
        "    made = topics[rng.integers(0, 500, n)] + rng.standard_normal((n, size), dtype=np.float32)\n"
        "    return made / np.linalg.norm(made, axis=1, keepdims=True)\n"
        "rows, sample = vectors(labeled), vectors(4096)\n"
        "found = {}\n"
        "answers = {}\n"
        "for name, exact in (('exact', labeled), ('clusters', 0)):\n"
        "    started = time.monotonic()\n"
        "    index = index_of(rows, exact)\n"
        "    built = time.monotonic() - started\n"
        "    index.search(sample[:256], 3)\n"
        "    started = time.monotonic()\n"
        "    hits = [index.search(sample[at : at + 256], 3)[1] for at in range(0, len(sample), 256)]\n"
        "    seconds = time.monotonic() - started\n"
        "    answers[name] = np.concatenate(hits)\n"
        "    found[name] = {'build_seconds': round(built, 1), 'sample_seconds': round(seconds, 2)}\n"
        "same = [len(set(a) & set(b)) / 3 for a, b in zip(answers['exact'], answers['clusters'])]\n"
        "found['clusters']['recall'] = round(float(np.mean(same)), 3)\n"
        "found |= {'sample': len(sample), 'threads': faiss.omp_get_max_threads()}\n"
        "found['peak_memory_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", code, str(labeled), str(size)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for name in ("exact", "clusters"):
        found[name]["extrapolated_minutes"] = round(found[name]["sample_seconds"] / found["sample"] * prompts / 60, 1)
    return {"labeled": labeled, "prompts": prompts, "dimensions": size, **found}


def write_pages() -> None:
    """Writes the tables of `docs/scale.md` from what is kept."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    for part, made in PARTS.items():
        write_part(PAGE, part, made(found))


def runs_table(found: dict[str, Any]) -> str:
    """The figures of the runs in Markdown."""
    lines = [
        "| rows | retrieval | "
        + " | ".join(("load", *STAGES, "report"))
        + " | whole run | on a core | rows/s, collaborate | peak |",
        "|" + "---|" * (len(STAGES) + 8),
    ]
    for run in found["runs"]:
        cells = [f"{run['stages'][name]:.1f}" for name in ("load", *STAGES, "report")]
        lines.append(
            f"| {run['rows']:,} | {run['retrieval']} | {' | '.join(cells)} | {run['seconds']:.0f} s "
            f"| {run['cpu_seconds']:.0f} s | {run['collaborate_rows_a_second']:,} | {run['peak_memory_mb']} MB |"
        )
    seconds = found["start"]["seconds"]
    lines += ["", f"A whole run over 100 rows takes {seconds[len(seconds) // 2]:.1f} s (median of {len(seconds)})."]
    plain = {run["rows"]: run["peak_memory_mb"] for run in found["runs"] if run["retrieval"] == "none"}
    few, many = min(plain), max(plain)
    if few < many:
        more = plain[many] - plain[few]
        lines.append(
            f"{many // few} times the rows take {more} MB more, {more / plain[few]:.0%} of the peak at {few:,}."
        )
    lines += ["", measured_on(found["machine"])]
    return "\n".join(lines)


def search_table(found: dict[str, Any]) -> str:
    """The figures of the search in Markdown."""
    lines = ["| search | build | 1,000,000 prompts, extrapolated | found of the exact 3 |", "|---|---|---|---|"]
    for name in ("exact", "clusters"):
        one = found["search"][name]
        lines.append(
            f"| {name} | {one['build_seconds']} s | {one['extrapolated_minutes']} min "
            f"| {100 * one.get('recall', 1):.1f} % |"
        )
    return "\n".join(lines)


PARTS = {"runs": runs_table, "search": search_table}
"""Of the page."""


if __name__ == "__main__":
    main()
