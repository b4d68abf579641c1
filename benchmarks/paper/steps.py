"""The commands of `semievol experiment` that make up the results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semievol.experiments.options import Options, Search

CONFIGS = "benchmarks/paper"
SEARCH = (3, 6)
"""SFT and SemiEvol choose between as many epochs, on held-out labeled rows."""
SHOWN = (3, 6, 12)
"""SFT with these epochs stands beside the one that was searched, for a search on few rows may be mistaken."""


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

    def options(self, out: str) -> Options:
        """What it is run with."""
        return Options(
            configs=tuple(f"{CONFIGS}/{task}.yaml" for task in self.tasks),
            seeds=tuple(self.seeds),
            sft_epochs=SHOWN if self.searched and self.experiment == "table1" else (),
            search=Search(epochs=SEARCH) if self.searched else Search(enabled=False),
            out=Path(out) if self.searched else Path(out, "no-search"),
        )

    def arguments(self, out: str) -> list[str]:
        """The same as what follows `semievol`."""
        options = self.options(out)
        words: list[object] = ["experiment", self.experiment, "--config", *options.configs, "--seeds", *options.seeds]
        words += ["--epochs", *options.search.epochs] if options.search.enabled else ["--no-search"]
        words += ["--sft-epochs", *options.sft_epochs] if options.sft_epochs else []
        return [*map(str, words), "--out", str(options.out)]

    def parts(self) -> "list[Step]":
        """The step for one task and seed at a time; what they compute has nothing in common."""
        return [replace(self, tasks=(task,), seeds=(seed,)) for seed in self.seeds for task in self.tasks]

    def shares_with(self, other: "Step") -> bool:
        """Whether a task and seed is in both, so that they work on the same runs."""
        return bool({*self.tasks} & {*other.tasks} and {*self.seeds} & {*other.seeds})


def steps() -> Iterator[Step]:
    """The commands: everything with one seed, then more seeds, those of the first tables first."""
    both, others = ("fpb", "r8"), ("arc", "pubmedqa")
    yield Step("table1", both, (0,))
    yield Step("entropy", both, (0,))
    yield Step("ablation", both, (0,))
    yield Step("table1", others, (0,), searched=False)
    yield Step("categories", ("mmlu-pro",), (0,), searched=False)
    yield Step("continuous", both, (0,))
    yield Step("iterative", both, (0,))
    yield Step("stability", ("fpb",), (0,))
    yield Step("sensitivity", both, (0,))
    for seeds in ((0, 1), (0, 1, 2)):
        yield Step("table1", both, seeds)
        yield Step("table1", others, seeds, searched=False)
    yield from (Step(name, both, (0, 1, 2)) for name in ("entropy", "ablation", "continuous", "iterative"))
    yield Step("sensitivity", both, (0, 1, 2))


def ready(waiting: Sequence[Step], running: Sequence[Step]) -> Step | None:
    """The first that works on no run of one that runs, or that waits before it; `None` if there is none."""
    for place, step in enumerate(waiting):
        if not any(step.shares_with(other) for other in (*running, *waiting[:place])):
            return step
    return None
