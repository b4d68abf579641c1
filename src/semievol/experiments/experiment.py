"""An experiment from its options to its tables and figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from semievol.errors import SemiEvolError, Stopped
from semievol.experiments.catalogue import COMPARE, Experiment
from semievol.experiments.compare import verdict
from semievol.experiments.figures import figure, require_matplotlib
from semievol.experiments.grid import Cell, Grid, Recipes, Result, failed
from semievol.experiments.measurements import Measurements, read, require_same, together
from semievol.experiments.options import Options, Search
from semievol.experiments.planned_targets import PlannedTarget, planned
from semievol.experiments.progress import GridReporter
from semievol.experiments.results import Findings, write
from semievol.experiments.search import search
from semievol.experiments.statistics import comparisons, summaries
from semievol.experiments.tables import tables
from semievol.experiments.targets import Target
from semievol.local import free_memory
from semievol.report.table import percent


def run_experiment(experiment: Experiment, options: Options, reporter: GridReporter, folder: Path) -> Findings:
    """What the experiment found; numbers, tables and figures are written to the folder.

    A cell that fails is recorded with its reason, and the others go on.

    Raises:
        SemiEvolError: the experiment cannot be, or was stopped; what is finished is kept, and the same call goes on.
    """
    require_matplotlib()
    grid = Grid(options.out, reporter)
    targets = planned(experiment, options, grid)
    methods = {
        (plan.target.task, plan.target.base): {method.name: method for method in plan.methods} for plan in targets
    }
    results: list[Result] = []
    searched: dict[tuple[str, str, int], Recipes] = {}
    uneven = frozenset(plan.target.task for plan in targets if plan.is_uneven)
    measurements = Measurements([plan.target for plan in targets], methods, results, searched, uneven)
    earlier = {f"--add {path}": read(path, experiment.name) for path in options.add}
    require_same(measurements, earlier)
    columns = [_column(plan.target, seed) for plan in targets for seed in plan.seeds]
    try:
        with reporter.table(list(measurements.all_methods), columns):
            for result in _measured(grid, experiment.search(options), targets, searched):
                results.append(result)
                accuracy = percent(result.metrics["accuracy"]) if result.metrics else "failed"
                reporter.fill(result.method, _column_of(result), accuracy)
    finally:
        free_memory()  # one model serves all cells
        findings = joined(experiment, together(measurements, earlier.values()))
        if any(result.metrics is not None for result in results):
            write(findings, folder, figure(findings))
    return findings


def _measured(
    grid: Grid,
    searching: Search,
    targets: Sequence[PlannedTarget],
    searched: dict[tuple[str, str, int], Recipes],
) -> Iterator[Result]:
    """The result of each cell."""
    for plan in targets:
        for seed in plan.seeds:
            recipes = search(grid, plan.target, seed, searching)
            searched[plan.target.task, plan.target.base, seed] = recipes
            for method in plan.methods:
                cell = Cell(plan.target, seed, method)
                try:
                    yield grid.measure(cell, recipes)
                except Stopped:
                    raise
                except SemiEvolError as error:
                    grid.reporter.say(f"{plan.target.task}, {method.name}: {error}")
                    yield failed(cell, error)


def joined(experiment: Experiment, measurements: Measurements) -> Findings:
    """The tables and comparisons of what was measured."""
    results = measurements.results
    means = summaries(results)
    pairs = comparisons(results, experiment.reference)
    series = {name: method.series or name for name, method in measurements.all_methods.items()}
    return Findings(
        **vars(measurements),
        experiment=experiment,
        summaries=means,
        comparisons=pairs,
        tables=tables(experiment, results, means, pairs, series, measurements.uneven),
        headline=verdict(means, pairs) if experiment is COMPARE else "",
    )


def _column(target: Target, seed: int) -> str:
    return f"{target.task}, {target.base}, seed {seed}"


def _column_of(result: Result) -> str:
    return f"{result.task}, {result.base}, seed {result.seed}"
