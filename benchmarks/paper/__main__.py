"""Runs the paper's experiments with SmolLM2-135M on a CPU, and keeps their tables, figures and numbers.

python -m benchmarks.paper                  runs what is missing; seven hours on 2 cores, all seeds of all points eleven
python -m benchmarks.paper --list           the commands, and which of them have ended
python -m benchmarks.paper --out FOLDER     where the runs go (runs/paper)
python -m benchmarks.paper --keep FOLDER    where the results go (benchmarks/results/paper)
python -m benchmarks.paper --jobs N         so many processes (2), which divide the cores among them

Each step is a command of `semievol experiment` that takes over what earlier ones have finished: the same grid with one
seed more, so that there are results to look at at any time. Before it, its tasks and seeds are run one by one, several
at once: a process with one thread waits for nobody, where two threads wait for each other at every matrix product.
Killed at any moment, the same command goes on. FPB, ARC, PubMedQA and MMLU-Pro come from the folder that SEMIEVOL_DATA
names.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = "benchmarks/paper"
KEPT = ("table.md", "results.csv", "results.json", "figure.png", "figure.svg")
SEARCH = ("--epochs", "3", "6")
"""SFT and SemiEvol choose between as many epochs, on held-out labeled rows."""


@dataclass(frozen=True)
class Step:
    """One command."""

    experiment: str
    tasks: Sequence[str]
    seeds: Sequence[int]
    searched: bool = True
    """Whether SFT and SemiEvol search for their epochs; elsewhere the config's stand."""

    @property
    def name(self) -> str:
        """The folder of its results; a later step with the same name replaces them."""
        return self.experiment if self.searched else f"{self.experiment}-no-search"

    def arguments(self, out: str) -> list[str]:
        """What follows `semievol`."""
        configs = [f"{CONFIGS}/{task}.yaml" for task in self.tasks]
        search = SEARCH if self.searched else ("--no-search",)
        return [
            *("experiment", self.experiment, "--config", *configs, "--seeds", *map(str, self.seeds), *search),
            *("--out", self.out(out)),
        ]

    def out(self, out: str) -> str:
        """Below the folder of all runs, that of the grid."""
        return out if self.searched else f"{out}/no-search"

    def parts(self) -> "list[Step]":
        """The step for one task and seed at a time; what they compute has nothing in common."""
        return [replace(self, tasks=(task,), seeds=(seed,)) for seed in self.seeds for task in self.tasks]


def steps() -> Iterator[Step]:
    """The commands, the most valuable first."""
    both = ("fpb", "r8")
    yield Step("table1", both, (0,))
    yield Step("table1", both, (0, 1))
    yield Step("table1", both, (0, 1, 2))
    yield Step("entropy", both, (0, 1, 2))
    yield Step("ablation", both, (0,))
    yield Step("ablation", both, (0, 1, 2))
    yield Step("table1", ("arc", "pubmedqa"), (0,), searched=False)
    yield Step("table1", ("arc", "pubmedqa"), (0, 1), searched=False)
    yield Step("table1", ("arc", "pubmedqa"), (0, 1, 2), searched=False)
    points = ("sensitivity", "continuous", "iterative")
    yield from (Step(name, both, (0,)) for name in points)
    yield Step("stability", both, (0,))
    yield Step("categories", ("mmlu-pro",), (0,), searched=False)
    yield from (Step(name, both, (0, 1, 2)) for name in points)


def main() -> int:
    """Runs the steps that have not ended; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/paper", help="where the runs go (runs/paper)")
    parser.add_argument("--keep", default="benchmarks/results/paper", help="where the results go")
    parser.add_argument("--jobs", type=int, default=2, help="processes that compute at once (2)")
    parser.add_argument("--list", action="store_true", help="only print the commands")
    options = parser.parse_args()
    ended = ROOT / options.out / "ended.txt"
    failed = False
    for step in steps():
        arguments = step.arguments(options.out)
        line = shlex.join(["semievol", *arguments])
        done = ended.exists() and line in ended.read_text(encoding="utf-8").splitlines()
        print("ended:" if done else "to do:", line, flush=True)
        if done or options.list:
            continue
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda part: run(part, options.out, options.jobs), step.parts()))
        code = run(step, options.out, 1)  # what failed in a part, it tries again and reports
        keep(ROOT / step.out(options.out) / step.experiment, ROOT / options.keep / step.name)
        if code == 0:
            with ended.open("a", encoding="utf-8") as handle:
                handle.write(f"{line}\n")
        failed = failed or code != 0
    return int(failed)


def run(step: Step, out: str, jobs: int) -> int:
    """The exit status of a step's command, run beside `jobs` - 1 others."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    command = [sys.executable, "-m", "semievol.cli", *step.arguments(out)]
    return subprocess.run(
        command, cwd=ROOT, check=False, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
    ).returncode


def keep(results: Path, folder: Path) -> None:
    """Copies what a step has written; nothing where it failed before there was anything."""
    for path in (results / name for name in KEPT):
        if path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.name)


if __name__ == "__main__":
    sys.exit(main())
