"""Runs the demo over three seeds, keeps the figures, and writes the table of the README from what is kept.

python -m benchmarks.demo            runs what is missing under benchmarks/results/demo, then the table
python -m benchmarks.demo --seed 1   runs one seed, if it is missing
python -m benchmarks.demo --table    the table only

Each seed is a process of its own, as `make demo` is: what one run leaves in memory is not the next one's.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT, write_part
from semievol.config import load

RESULTS = ROOT / "benchmarks" / "results" / "demo"
CONFIG = ROOT / "configs" / "demo.yaml"
SEEDS = (0, 1, 2)
MODELS = {
    "base": "vanilla",
    "logistic_regression": "logistic regression on MiniLM embeddings",
    "self_trained_logistic_regression": "the same, self-trained on the unlabeled rows",
    "warm": "SFT",
    "evolved": "SemiEvol",
}
PART = "demo table"
"""Of the README."""


def main() -> None:
    """Runs what is missing and rewrites the README's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only write the table from what is kept")
    parser.add_argument("--seed", type=int, help="only run this seed")
    options = parser.parse_args()
    if options.seed is not None:
        run_seed(options.seed)
        return
    if not options.table:
        for seed in SEEDS:
            subprocess.run([sys.executable, "-m", "benchmarks.demo", "--seed", str(seed)], check=True, cwd=ROOT)
    write_part(ROOT / "README.md", PART, table())
    print(table())


def run_seed(seed: int) -> None:
    """Runs the demo with a seed and keeps its config, metrics and facts."""
    import semievol

    kept = RESULTS / f"seed-{seed}"
    if (kept / "metrics.json").exists():
        return
    config = semievol.load(CONFIG, [f"seed={seed}", f"output=runs/demo-seed-{seed}"])
    semievol.run(config)
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("config.yaml", "run.json", "select/done.json", "warmup/done.json", "evolve/done.json"):
        shutil.copy(Path(config.output) / name, kept / name.replace("/", "-"))
    shutil.copy(Path(config.output) / "evaluate" / "metrics.json", kept / "metrics.json")


def kept_metrics() -> dict[int, dict[str, Any]]:
    """The kept metrics by seed."""
    return {
        int(path.parent.name.removeprefix("seed-")): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("seed-*/metrics.json"))
    }


def table() -> str:
    """The results of all kept seeds in Markdown: accuracy in %, its 95 % interval, and the mean over the seeds."""
    kept = kept_metrics()
    lines = [
        "| accuracy in % (95 % interval) | " + " | ".join(f"seed {seed}" for seed in kept) + " | mean |",
        "|---|" + "---|" * (len(kept) + 1),
    ]
    for key, name in MODELS.items():
        if not all(key in metrics["models"] for metrics in kept.values()):
            continue  # kept figures may be older than a row
        cells = [_cell(metrics["models"][key]) for metrics in kept.values()]
        mean = statistics.mean(metrics["models"][key]["accuracy"] for metrics in kept.values())
        lines.append(f"| {name} | " + " | ".join(cells) + f" | **{100 * mean:.1f}** |")
    for key, name in (("all", "all pseudo-labels, held against the truth"), ("kept", "pseudo-labels that were kept")):
        cells = [_cell(metrics["pseudo_labels"][key]) for metrics in kept.values()]
        mean = statistics.mean(metrics["pseudo_labels"][key]["accuracy"] for metrics in kept.values())
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {100 * mean:.1f} |")
    gains = [
        100 * (metrics["models"]["evolved"]["accuracy"] - metrics["models"]["warm"]["accuracy"])
        for metrics in kept.values()
    ]
    rows = {metrics["models"]["evolved"]["rows"] for metrics in kept.values()}
    facts = [json.loads((RESULTS / f"seed-{seed}" / "run.json").read_text(encoding="utf-8")) for seed in kept]
    minutes = statistics.median(sum(s["seconds"] for s in each["sessions"]) for each in facts) / 60
    memory = max(s["peak_memory_mb"] for each in facts for s in each["sessions"]) / 1024
    types = {load(RESULTS / f"seed-{seed}" / "config.yaml").model.dtype for seed in kept}
    machine = facts[-1]["sessions"][-1]["machine"]
    lines += [
        "",
        f"SemiEvol over SFT: {', '.join(f'{gain:+.1f}' for gain in gains)} points; mean {statistics.mean(gains):+.1f}. "
        f"{', '.join(str(n) for n in sorted(rows))} test rows; a run took {minutes:.1f} minutes (median) and at most "
        f"{memory:.1f} GB of memory on {machine['cores']} cores ({machine['processor']}) in "
        f"{', '.join(sorted(types))}.",
    ]
    return "\n".join(lines)


def _cell(figures: dict[str, Any]) -> str:
    return f"{100 * figures['accuracy']:.1f} ({100 * figures['low']:.1f} to {100 * figures['high']:.1f})"


if __name__ == "__main__":
    main()
