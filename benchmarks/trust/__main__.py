"""Joins results of `semievol experiment trust` from several calls and machines, and keeps their tables.

python -m benchmarks.trust NAME FOLDER ...     joins them under benchmarks/results/trust/NAME
python -m benchmarks.trust --page              writes the tables of docs/trust.md from all that are kept

A folder is what a call left below its `--out`. Tables of several machines are not joined: a GPU's bfloat16 is another
run than a CPU's.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import ROOT, write_part
from semievol.experiments.catalogue import EXPERIMENTS
from semievol.experiments.experiment import joined
from semievol.experiments.figures import figure
from semievol.experiments.measurements import read, together
from semievol.experiments.results import write
from semievol.experiments.statistics import Comparison
from semievol.experiments.tables import signed

KEPT = ROOT / "benchmarks/results/trust"
PAGE = ROOT / "docs/trust.md"


def main() -> int:
    """Joins, or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="what the joined results are called")
    parser.add_argument("folders", nargs="*", type=Path, help="results to join")
    parser.add_argument("--page", action="store_true", help="write the tables of docs/trust.md")
    options = parser.parse_args()
    if options.name:
        keep(options.name, options.folders)
    if options.page or options.name:
        write_part(PAGE, "trust tables", tables())
    return 0


def keep(name: str, folders: Sequence[Path]) -> None:
    """Joins what lies in the folders, and writes its tables and figures."""
    experiment = EXPERIMENTS["trust"]
    first, *others = [read(folder, experiment.name) for folder in folders]
    findings = joined(experiment, together(first, others))
    write(findings, KEPT / name, figure(findings))


def tables() -> str:
    """The tables of all results that are kept, as Markdown."""
    paths = sorted(KEPT.glob("*/results.json"))
    return "\n".join(_tables(path.parent.name, json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def _tables(name: str, found: Mapping[str, Any]) -> str:
    results = [result for result in found["results"] if result["metrics"]]
    seeds = sorted({result["seed"] for result in results})
    lines = [f"### {name}", "", f"Seeds {', '.join(map(str, seeds))}; {_link(name)}.", ""]
    return "\n".join([*lines, *_accuracies(results), "", *_settled(found), "", *_pseudo_labels(results), ""])


def _link(name: str) -> str:
    return f"[differences, intervals and what it rests on](../benchmarks/results/trust/{name}/table.md)"


def _accuracies(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Test accuracy of each method: the mean over the seeds, by task, and the error against SFT's."""
    tasks = list(dict.fromkeys(result["task"] for result in results))
    of: dict[str, dict[str, list[float]]] = {}
    for result in results:
        of.setdefault(result["method"], {}).setdefault(result["task"], []).append(result["metrics"]["accuracy"])
    lines = [f"| test accuracy, % | {' | '.join(tasks)} | error / SFT's |", f"|---|{'---:|' * (len(tasks) + 1)}"]
    for method, accuracy in of.items():
        cells = [f"{100 * np.mean(accuracy[task]):.1f}" if task in accuracy else "" for task in tasks]
        shared = [task for task in tasks if task in accuracy and len(accuracy[task]) == len(of["SFT"].get(task, []))]
        error = {m: np.mean([1 - np.mean(of[m][task]) for task in shared]) for m in (method, "SFT")} if shared else {}
        ratio = f"{error[method] / error['SFT']:.2f}" if error else ""
        lines.append(f"| {method} | {' | '.join(cells)} | {ratio} |")
    return lines


def _settled(found: Mapping[str, Any]) -> list[str]:
    """On which tasks the language models are surely better or worse than SFT, and on which that is open."""
    compared = [Comparison(**one) for one in found["comparisons"] if "logistic" not in one["method"]]
    lines = ["| against SFT, points | better | worse | open |", "|---|---|---|---|"]
    for method in dict.fromkeys(one.method for one in compared):
        of_method = [one for one in compared if one.method == method]
        ways = ([one for one in of_method if one.settled_corrected == way] for way in (1, -1, 0))
        cells = (", ".join(f"{one.task} ({signed(one.difference)})" for one in way) or "none" for way in ways)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def _pseudo_labels(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What calibrated probabilities were worth, task by task."""
    pooled = [result for result in results if (result["pseudo_labels"] or {}).get("probability")]
    lines = [
        "| pseudo-labels, all unlabeled rows | right, % | mean probability, % | calibration error | area under "
        "risk-coverage | the same of H |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for method in dict.fromkeys(result["method"] for result in pooled):
        for task in [*dict.fromkeys(r["task"] for r in pooled if r["method"] == method), "all"]:
            worth = [
                result["pseudo_labels"]["probability"]
                for result in pooled
                if result["method"] == method and task in ("all", result["task"])
            ]
            mean = {name: float(np.mean([one[name] for one in worth])) for name in worth[0]}
            lines.append(
                f"| {method}, {task} | {100 * mean['accuracy']:.1f} | {100 * mean['confidence']:.1f} | "
                f"{mean['calibration_error']:.3f} | {mean['risk_coverage']:.3f} | {mean['risk_coverage_of_h']:.3f} |"
            )
    return lines


if __name__ == "__main__":
    sys.exit(main())
