"""What an experiment is going to run: targets with their seeds and methods."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from semievol.data import Dataset
from semievol.errors import MissingExtraError
from semievol.experiments.catalogue import Experiment
from semievol.experiments.grid import Cell, Grid, Recipes
from semievol.experiments.methods import Method
from semievol.experiments.options import Options
from semievol.experiments.targets import Target, targets
from semievol.forecast.needs import require_ready
from semievol.forecast.plan import make_plan

UNEVEN = 1.5
"""Classes are uneven if the largest has so many times the rows that it would have among equal ones."""


@dataclass(frozen=True)
class PlannedTarget:
    """A target with the methods to be run on it."""

    target: Target
    seeds: Sequence[int]
    methods: Sequence[Method]
    is_uneven: bool
    """Whether the classes of its test rows are uneven, with the first seed."""


def planned(experiment: Experiment, options: Options, grid: Grid) -> list[PlannedTarget]:
    """The targets that the options name.

    Raises:
        SemiEvolError: the experiment cannot be run on one of them, or a prompt does not fit into its model.
    """
    plans = []
    for target in targets(options):
        seeds = target.seeds(options)
        config = target.with_seed(seeds[0])
        dataset = grid.dataset(config)
        make_plan(config, dataset)  # refuses prompts that do not fit into the model
        methods = experiment.methods(config, dataset, options)
        for method in methods:
            _require_ready(Cell(target, seeds[0], method), grid)
        plans.append(PlannedTarget(target, seeds, methods, is_uneven(dataset)))
    return plans


def _require_ready(cell: Cell, grid: Grid) -> None:
    """Raises MissingExtraError if the method's run will lack a package that can be had."""
    try:
        require_ready(*grid.prepared(cell, Recipes()))
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{cell.target.task}, {cell.method.name}: {error}; or leave the method out with --methods"
        ) from error


def is_uneven(dataset: Dataset) -> bool:
    """Whether the classes of the test rows are uneven; not if answers are no closed set."""
    classes = dataset.task.answers()
    counts = Counter(example.answer for example in dataset.test)
    return classes is not None and max(counts.values()) > UNEVEN * len(dataset.test) / len(classes)
