"""Runs the paper's experiments with SmolLM2-135M on a CPU, and keeps their tables, figures and numbers.

python -m benchmarks.paper                  runs what is missing; about three hours on 2 cores for a seed
python -m benchmarks.paper --list           the commands, and which of them have ended
python -m benchmarks.paper --page           writes docs/results.md from what is kept
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
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from benchmarks.pages import ROOT
from benchmarks.paper.page import page
from benchmarks.paper.steps import Step, in_parts, ready, steps
from semievol.run_dir import RunDir

KEPT = ("table.md", "results.csv", "results.json", "figure.png", "figure.svg")
ENDED = "ended.txt"


def main() -> int:
    """Runs the steps that have not ended; 1 where one of them failed."""
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
        for step in steps():
            print("ended:" if has_ended(step, options.out) else "to do:", command(step, options.out))
        return 0
    with RunDir(ROOT / options.out).lock():
        return int(not run_all(options.out, options.keep, options.jobs))


def run_all(out: str, kept: str, jobs: int) -> bool:
    """Whether all steps ended well."""
    todo = [step for step in steps() if not has_ended(step, out)]
    waiting = in_parts(todo)
    running: dict[Future[int], Step] = {}
    failed = False
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            while len(running) < jobs and (job := ready(waiting, list(running.values()))):
                waiting.remove(job)
                print(command(job, out), flush=True)
                running[pool.submit(run, job, out, jobs)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                if step in todo:  # what failed in a part, the whole step has tried again and reported
                    _end(step, out, kept, future.result())
                    failed = failed or future.result() != 0
    return not failed


def _end(step: Step, out: str, kept: str, code: int) -> None:
    keep(ROOT / step.out(out) / step.experiment, ROOT / kept / step.name)
    if code == 0:
        with (ROOT / out / ENDED).open("a", encoding="utf-8") as handle:
            handle.write(f"{command(step, out)}\n")


def command(step: Step, out: str) -> str:
    """The step as one types it."""
    return shlex.join(["semievol", *step.arguments(out)])


def has_ended(step: Step, out: str) -> bool:
    """Whether an earlier call has finished it."""
    ended = ROOT / out / ENDED
    return ended.exists() and command(step, out) in ended.read_text(encoding="utf-8").splitlines()


def run(step: Step, out: str, jobs: int) -> int:
    """The exit status of a step's command, run beside `jobs` - 1 others."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    called = [sys.executable, "-m", "semievol.cli", *step.arguments(out)]
    return subprocess.run(called, cwd=ROOT, check=False, env={**os.environ, "OMP_NUM_THREADS": str(threads)}).returncode


def keep(results: Path, folder: Path) -> None:
    """Copies what a step has written; nothing where it failed before there was anything."""
    for path in (results / name for name in KEPT):
        if path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.name)


if __name__ == "__main__":
    sys.exit(main())
