"""An experiment from its options to its tables and figures."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semievol.data import Dataset
from semievol.errors import SemiEvolError, Stopped
from semievol.experiments.catalogue import COMPARE, Experiment
from semievol.experiments.compare import verdict
from semievol.experiments.figures import figure, require_matplotlib
from semievol.experiments.grid import Cell, Grid, Recipes, Result, failed
from semievol.experiments.measured import Measured, read, require_same, together
from semievol.experiments.options import Options, Search
from semievol.experiments.progress import GridReporter
from semievol.experiments.results import Found, write
from semievol.experiments.search import search
from semievol.experiments.statistics import comparisons, summaries
from semievol.experiments.tables import tables
from semievol.experiments.targets import Target, targets
from semievol.experiments.variants import Variant
from semievol.local import free_memory
from semievol.plan import make_plan
from semievol.report.table import percent

UNEVEN = 1.5
"""Classes are uneven where the largest has so many times the rows that it would have among equal ones."""


@dataclass(frozen=True)
class Planned:
    """A target with the methods to be run on it."""

    target: Target
    seeds: Sequence[int]
    variants: Sequence[Variant]


def run_experiment(experiment: Experiment, options: Options, reporter: GridReporter, folder: Path) -> Found:
    """What the experiment found; numbers, tables and figures are written to the folder.

    A cell that fails is recorded with its reason, and the others go on.

    Raises:
        SemiEvolError: the experiment cannot be, or was stopped; what is finished is kept, and the same call goes on.
    """
    require_matplotlib()
    chosen = targets(options)
    grid = Grid(options.out, reporter)
    planned, uneven = [], set()
    for target in chosen:
        seeds = target.seeds(options)
        config = target.with_seed(seeds[0])
        dataset = grid.dataset(config)
        make_plan(config, dataset)  # refuses prompts that do not fit into the model
        planned.append(Planned(target, seeds, experiment.variants(config, dataset, options)))
        if is_uneven(dataset):
            uneven.add(target.task)
    variants = {variant.name: variant for each in planned for variant in each.variants}
    results: list[Result] = []
    searched: dict[tuple[str, str, int], Recipes] = {}
    here = Measured(chosen, variants, results, searched, frozenset(uneven))
    earlier = {f"--add {path}": read(path, experiment.name) for path in options.add}
    require_same(here, earlier)
    columns = [_column(each.target, seed) for each in planned for seed in each.seeds]
    try:
        with reporter.table(list(variants), columns):
            for result in _measured(grid, experiment, planned, options, searched):
                results.append(result)
                shown = percent(result.metrics["accuracy"]) if result.metrics else "failed"
                reporter.fill(result.variant, _column_of(result), shown)
    finally:
        free_memory()  # one model serves all cells
        found = _found(experiment, together(here, earlier.values()))
        if any(result.metrics is not None for result in results):
            write(found, folder, figure(found))
    return found


def is_uneven(dataset: Dataset) -> bool:
    """Whether the classes of the test rows are uneven; not where answers are no closed set."""
    classes = dataset.task.answers()
    counts = Counter(example.answer for example in dataset.test)
    return classes is not None and max(counts.values()) > UNEVEN * len(dataset.test) / len(classes)


def _measured(
    grid: Grid,
    experiment: Experiment,
    planned: Sequence[Planned],
    options: Options,
    searched: dict[tuple[str, str, int], Recipes],
) -> Iterator[Result]:
    """The result of each cell."""
    for each in planned:
        for seed in each.seeds:
            recipes = search(grid, each.target, seed, _search(experiment, options))
            searched[each.target.task, each.target.base, seed] = recipes
            for variant in each.variants:
                cell = Cell(each.target, seed, variant)
                try:
                    yield grid.measure(cell, recipes)
                except Stopped:
                    raise
                except SemiEvolError as error:
                    grid.reporter.say(f"{each.target.task}, {variant.name}: {error}")
                    yield failed(cell, error)


def _search(experiment: Experiment, options: Options) -> Search:
    asked = bool(options.search.epochs or options.search.learning_rates)
    return dataclasses.replace(options.search, enabled=options.search.enabled and (experiment.searches or asked))


def _found(experiment: Experiment, measured: Measured) -> Found:
    results = measured.results
    found = summaries(results)
    compared = comparisons(results, experiment.reference)
    series = {name: variant.series or name for name, variant in measured.variants.items()}
    return Found(
        **vars(measured),
        experiment=experiment,
        summaries=found,
        comparisons=compared,
        tables=tables(experiment, results, found, compared, series, measured.uneven),
        headline=verdict(found, compared) if experiment is COMPARE else "",
    )


def _column(target: Target, seed: int) -> str:
    return f"{target.task}, {target.base}, seed {seed}"


def _column_of(result: Result) -> str:
    return f"{result.task}, {result.base}, seed {result.seed}"
