"""The same search over epochs and learning rate for SFT and SemiEvol, on labeled rows that are held out.

Test rows have no part in it. Held-out rows are in no training that they measure; the runs that count train on all
labeled rows.
"""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, get_args

from semievol.config import Config, TrainingConfig, changed
from semievol.data import Dataset
from semievol.data.hashes import short_hash
from semievol.errors import ConfigError
from semievol.experiments.grid import Grid, Recipes
from semievol.experiments.methods import SEMIEVOL, SFT, Method
from semievol.experiments.options import Search
from semievol.experiments.targets import Target
from semievol.records import Example
from semievol.run_folder.files import read_json

FEW = 50
"""On fewer held-out rows one right answer more or less decides between recipes."""

Recipe = dict[str, Any]
TrainedStage = Literal["warmup", "evolve"]
TrialSplit = tuple[tuple[Example, ...], tuple[Example, ...]]
"""The rows to train on, and those to compare recipes on."""


def search(grid: Grid, target: Target, seed: int, options: Search) -> Recipes:
    """The best recipe of SFT, and that of SemiEvol after a warm-up with SFT's.

    Raises:
        ConfigError: there are too few labeled rows to hold some out.
    """
    config = target.with_seed(seed)
    if not options.enabled:
        return Recipes()
    dataset = grid.dataset(config)
    parts = splits(dataset.labeled, options, seed)
    where = f"{target.task}/seed-{seed}/search"
    compared_on = sum(len(held_out) for _, held_out in parts)
    if compared_on < FEW and compared_on < len(dataset.labeled):
        grid.reporter.say(f"{where}: recipes win by luck on {compared_on} rows; --folds 5 compares on all labeled rows")
    trials: list[dict[str, Any]] = []

    def best(method: Method, stage: TrainedStage, before: Mapping[str, Any]) -> Recipe:
        """The recipe with the highest accuracy on the held-out rows; of equals, the first."""
        recipes, accuracies = candidates(config, options, stage), []
        rows_compared = f"{compared_on} of the {len(dataset.labeled)} labeled rows"
        grid.reporter.say(f"{where}: {len(recipes)} recipes for {method.name}, compared on {rows_compared}")
        for recipe in recipes:
            name = ", ".join(f"{option} {value:g}" for option, value in recipe.items())
            right = rows = 0
            for split in parts:
                trial_run = trial(config, dataset, split, stage, recipe, before)
                folder, _ = grid.run(f"{where}/{method.name} {name}", *trial_run)
                figures = read_json(folder.stage("evaluate").metrics_path)["models"][method.model]
                right, rows = right + figures["right"], rows + figures["rows"]
            accuracies.append(right / rows)
            trials.append({"method": method.name, **recipe, "accuracy": right / rows, "rows": rows})
        return recipes[accuracies.index(max(accuracies))]

    sft = best(SFT, "warmup", {})
    evolve = best(SEMIEVOL, "evolve", {"warmup": {"training": sft}})
    return Recipes(sft, evolve, tuple(trials), max(1, options.folds))


def trial(
    config: Config, dataset: Dataset, split: TrialSplit, stage: TrainedStage, recipe: Recipe, before: Mapping[str, Any]
) -> tuple[Config, Dataset]:
    """The run that measures a stage's recipe on held-out rows: its config, after the changes of `before`, and rows."""
    method = SFT if stage == "warmup" else SEMIEVOL
    rest, held_out = split
    unlabeled = dataset.unlabeled if stage == "evolve" else ()
    tuned = dataclasses.replace(dataset, labeled=rest, test=held_out, unlabeled=unlabeled)
    return changed(config, before, {stage: {"training": recipe}}, method.config_options()), tuned


def candidates(config: Config, options: Search, stage: TrainedStage) -> list[Recipe]:
    """The recipes to try as changes of a stage's training options, its own first.

    Both stages are offered the same ones, or the one with more choices would win by that alone: the recipes of both
    in the config, then every other combination of the options' epochs and learning rates. If the options name none,
    the epochs are half, once, twice and three times those of the warm-up; if they name no learning rates, those of
    the config.
    """
    recipes = {stage: _searched(config.recipe(stage)) for stage in get_args(TrainedStage)}
    epochs: Sequence[int] = options.epochs or sorted({recipe["num_train_epochs"] for recipe in recipes.values()})
    if not options.epochs and not options.learning_rates:
        usual = recipes["warmup"]["num_train_epochs"]
        epochs = sorted({max(1, usual // 2), usual, 2 * usual, 3 * usual})
    rates = options.learning_rates or sorted({recipe["learning_rate"] for recipe in recipes.values()})
    combined = [{"num_train_epochs": count, "learning_rate": rate} for count in epochs for rate in rates]
    offered: list[Recipe] = []
    for recipe in (recipes[stage], *recipes.values(), *combined):
        if recipe not in offered:
            offered.append(recipe)
    return offered


def _searched(recipe: TrainingConfig) -> Recipe:
    return recipe.model_dump(include={"num_train_epochs", "learning_rate"})


def splits(labeled: Sequence[Example], options: Search, seed: int) -> list[TrialSplit]:
    """One split with the share of the rows held out, or `folds` of them in which each row is held out once.

    The seed and the rows' ids draw what is held out.

    Raises:
        ConfigError: too few rows.
    """
    shuffled = sorted(labeled, key=lambda example: short_hash(f"{seed}/held out/{example.id}"))
    if options.folds > 1:
        parts = [shuffled[number :: options.folds] for number in range(options.folds)]
    else:
        parts = [shuffled[: round(options.held_out * len(shuffled))]]
    if not all(0 < len(part) < len(labeled) for part in parts):
        held_out = f"{options.folds} parts" if options.folds > 1 else f"a share of {options.held_out:g}"
        raise ConfigError(
            f"{len(labeled)} labeled rows cannot be split into rows to train on and {held_out} to compare recipes on; "
            "use another --held-out, fewer --folds or --no-search"
        )
    return [_split(labeled, {example.id for example in part}) for part in parts]


def _split(labeled: Sequence[Example], held_out: Container[str]) -> TrialSplit:
    return (
        tuple(example for example in labeled if example.id not in held_out),
        tuple(example for example in labeled if example.id in held_out),
    )
