"""Runs the paper's experiments with SmolLM2-135M on a CPU, and keeps their tables, figures and numbers.

python -m benchmarks.paper                  runs what is missing; about three hours on 2 cores for a seed
python -m benchmarks.paper --list           the commands, and which of their results are kept
python -m benchmarks.paper --page           writes docs/results.md from what is kept
python -m benchmarks.paper --out FOLDER     where the runs go (runs/paper)
python -m benchmarks.paper --keep FOLDER    where the results go (benchmarks/results/paper)
python -m benchmarks.paper --jobs N         so many processes (2), which divide the cores among them

Each task and seed of an experiment is a command of `semievol experiment`, and its results are added to those that are
kept: there are results to look at at any time, and a checkout on another machine goes on from them. Several run at
once, for a process with one thread waits for nobody, where two threads wait for each other at every matrix product.
Killed at any moment, the same command goes on. FPB, ARC, PubMedQA and MMLU-Pro come from the folder that SEMIEVOL_DATA
names.
"""

import argparse
import os
import shlex
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from benchmarks.pages import ROOT
from benchmarks.paper.page import page, read_kept
from benchmarks.paper.steps import Step, ready, steps
from semievol.experiments.catalogue import EXPERIMENTS
from semievol.experiments.experiment import run_experiment
from semievol.experiments.measurements import OUTCOMES
from semievol.experiments.progress import GridReporter
from semievol.run_folder.folder import RunFolder


def main() -> int:
    """Runs what is not kept; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/paper", help="where the runs go (runs/paper)")
    parser.add_argument("--keep", default="benchmarks/results/paper", help="where the results go")
    parser.add_argument("--jobs", type=int, default=2, help="processes that compute at once (2)")
    parser.add_argument("--list", action="store_true", help="only print the commands")
    parser.add_argument("--page", action="store_true", help="only write docs/results.md")
    options = parser.parse_args()
    if options.page:
        (ROOT / "docs" / "results.md").write_text(page(ROOT / options.keep), encoding="utf-8")
        return 0
    if options.list:
        missing = todo(options.keep)
        for part in dict.fromkeys(part for step in steps() for part in step.parts()):
            print("to do:" if part in missing else "kept:", command(part, options.out))
        return 0
    with RunFolder(ROOT / options.out).lock():
        return int(not run_all(options.out, options.keep, options.jobs))


def todo(kept: str) -> list[Step]:
    """The tasks and seeds that are not kept, in the order of the steps."""
    found = read_kept(ROOT / kept)
    missing: dict[Step, None] = {}
    for step in steps():
        there = found.get(step.name)
        measured = set() if there is None else there.measured()
        lacking = [part for part in step.parts() if (part.tasks[0], part.seeds[0]) not in measured]
        if lacking and there is not None and not there.can_grow:
            lacking = step.parts()
        missing.update(dict.fromkeys(lacking))
    return list(missing)


def run_all(out: str, kept: str, jobs: int) -> bool:
    """Whether everything ended well."""
    waiting = todo(kept)
    running: dict[Future[int], Step] = {}
    failed = False
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            while len(running) < jobs and (part := ready(waiting, list(running.values()))):
                waiting.remove(part)
                print(command(part, out), flush=True)
                running[pool.submit(run, part, out, jobs)] = part
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                part = running.pop(future)
                if future.result() == 0:
                    keep(part, out, ROOT / kept)
                failed = failed or future.result() != 0
    return not failed


def keep(part: Step, out: str, kept: Path) -> None:
    """Adds what a command has measured to the results that are kept; nothing is computed again."""
    folder = kept / part.name
    add = (folder,) if (folder / OUTCOMES).exists() else ()
    with chdir(ROOT):
        run_experiment(EXPERIMENTS[part.experiment], replace(part.options(out), add=add), GridReporter(), folder)


def command(step: Step, out: str) -> str:
    """The step as one types it."""
    return shlex.join(["semievol", *step.arguments(out)])


def run(step: Step, out: str, jobs: int) -> int:
    """The exit status of a step's command, run beside `jobs` - 1 others."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    called = [sys.executable, "-m", "semievol.cli", *step.arguments(out)]
    return subprocess.run(called, cwd=ROOT, check=False, env={**os.environ, "OMP_NUM_THREADS": str(threads)}).returncode


if __name__ == "__main__":
    sys.exit(main())
