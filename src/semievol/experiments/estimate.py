"""What a grid will do before it does it: the work of all its runs, of which what they share is counted once."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from semievol.backends import Backend, open_backend
from semievol.config import Config
from semievol.data import Dataset, digest
from semievol.experiments.catalogue import Experiment
from semievol.experiments.grid import Cell, Grid, Recipes
from semievol.experiments.options import Options, Search
from semievol.experiments.planned_targets import PlannedTarget, planned
from semievol.experiments.search import candidates, splits, trial
from semievol.experiments.targets import short_name
from semievol.forecast.lengths import fitted
from semievol.forecast.plan import Estimate, notes_on, price_at_services, prompt_lengths, prompt_rate, sizes_of, timed
from semievol.forecast.work import Sizes, Step, by_stage, work
from semievol.progress import Reporter
from semievol.run_folder import STAGES
from semievol.stages.collaborate import collaborators


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid, as far as it is known beforehand."""

    config: Config
    dataset: Dataset
    searches: bool = False


def estimate(experiment: Experiment, options: Options) -> Estimate:
    """The work of all runs at most, with times from a few seconds of the engine.

    What is finished already is counted too. The recipes that a search will find are taken to be the longest.

    Raises:
        SemiEvolError: the experiment cannot be.
    """
    grid = Grid(options.out, Reporter())
    steps: list[Step] = []
    engines: list[tuple[Config, Backend]] = []
    run_count = searching = 0
    for plan in planned(experiment, options, grid):
        runs = [run for seed in plan.seeds for run in _runs(grid, plan, seed, experiment.search(options))]
        run_count += len(runs)
        searching += sum(run.searches for run in runs)
        with closing(open_backend(plan.target.config, {})) as backend:
            steps += _steps(plan, runs, backend)
        engines.append((plan.target.config, backend))
    notes = {f"{run_count} runs, {searching} of them for the search; what several share is counted once": None}
    for config, backend in engines:
        notes |= dict.fromkeys(notes_on(config, backend, price_at_services(config, backend), steps))
    order = [*STAGES, ""]
    steps.sort(key=lambda step: order.index(step.stage if step.stage in STAGES else ""))
    return Estimate(tuple(by_stage(steps)), tuple(notes))


def _runs(grid: Grid, plan: PlannedTarget, seed: int, search: Search) -> Iterator[PlannedRun]:
    """The runs of one seed: those of the search, then those that count."""
    config = plan.target.with_seed(seed)
    recipes = Recipes()
    if search.enabled:
        dataset = grid.dataset(config)
        sft, evolve = candidates(config, search, "warmup"), candidates(config, search, "evolve")
        recipes = Recipes(_longest(config, "warmup", sft), _longest(config, "evolve", evolve))
        warmup = {"warmup": {"training": recipes.sft}}
        for split in splits(dataset.labeled, search, seed):
            for recipe in sft:
                yield PlannedRun(*trial(config, dataset, split, "warmup", recipe, {}), searches=True)
            for recipe in evolve:
                yield PlannedRun(*trial(config, dataset, split, "evolve", recipe, warmup), searches=True)
    for method in plan.methods:
        yield PlannedRun(*grid.prepared(Cell(plan.target, seed, method), recipes))


def _longest(config: Config, stage: Literal["warmup", "evolve"], recipes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    epochs = config.recipe(stage).num_train_epochs
    return max(recipes, key=lambda recipe: recipe.get("num_train_epochs", epochs))


def _steps(plan: PlannedTarget, runs: Sequence[PlannedRun], backend: Backend) -> Iterator[Step]:
    """The work of a target's runs without what an earlier one does."""
    rate = prompt_rate(runs[0].config, runs[0].dataset, backend)
    sizes: dict[str, Sizes] = {}
    keys_done: set[str] = set()
    for run in runs:
        config, dataset = fitted(run.config, run.dataset), run.dataset
        rows = {name: digest(getattr(dataset, name)) for name in ("labeled", "unlabeled", "test")}
        key = str(rows)
        if key not in sizes:
            sizes[key] = sizes_of(prompt_lengths(config, dataset, backend), dataset, backend)
        is_own_model = config.model.name == plan.target.config.model.name
        for step in work(config, sizes[key], price_at_services(config, backend)):
            identity = _identity(config, step, rows)
            if identity not in keys_done:
                keys_done.add(identity)
                (step,) = timed([step], config, backend, rate if is_own_model else None)
                yield (
                    step
                    if is_own_model
                    else dataclasses.replace(step, stage=f"evaluate {short_name(config.model.name)}")
                )


def _identity(config: Config, step: Step, rows: Mapping[str, str]) -> str:
    """The same for steps of two runs that compute the same."""
    parts: dict[str, Any] = {"step": (step.stage, step.part, step.round), **_dumped(config, "model", "task", "seed")}
    if step.stage == "evaluate":
        sections = ("retrieval",) if config.evaluate.examples else ()
        parts |= {"test": rows["test"], **_dumped(config, *sections)}
        parts["evaluate"] = config.evaluate.model_dump(include={"max_tokens", "examples", "instruction"})
        parts["rounds"] = config.rounds if step.part == "evolved" else 1
    stage_name = {"base": "", "warm": "warmup", "evolved": "evolve"}.get(step.part, step.stage)
    return repr(parts | _made_from(config, stage_name if step.round == 1 else "evolve", rows))


def _made_from(config: Config, stage: str, rows: Mapping[str, str]) -> dict[str, Any]:
    """What a stage of the first round depends on, and the stages before it."""
    if not stage:
        return {}
    recipe = config.recipe("warmup").model_dump() if config.warmup.enabled else None
    key: dict[str, Any] = {"labeled": rows["labeled"], "warmup": recipe}
    if stage == "warmup":
        return key
    section = config.collaborate.model_dump(exclude={"n", "collaborators"})
    key |= {"unlabeled": rows["unlabeled"], "collaborate": section, **_dumped(config, "retrieval")}
    if stage == "collaborate":
        return key
    key |= {"crew": [collaborator.name for collaborator in collaborators(config)], **_dumped(config, "justify")}
    if stage == "justify":
        return key
    trained = {"recipe": config.recipe("evolve").model_dump(), "evolve": config.evolve.model_dump(exclude={"training"})}
    return key | trained | _dumped(config, "select")


def _dumped(config: Config, *sections: str) -> dict[str, Any]:
    return config.model_dump(mode="json", include=set(sections))
