"""The same search over epochs and learning rate for SFT and SemiEvol, on a slice of the labeled rows.

Test rows have no part in it. The rows of the slice are in no training of the search; the runs that are measured train
on all labeled rows.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from semievol.config import Config, changed
from semievol.data import Dataset
from semievol.data.hashes import short_hash
from semievol.errors import ConfigError
from semievol.experiments.grid import Grid, Recipes
from semievol.experiments.options import Search
from semievol.experiments.targets import Target
from semievol.experiments.variants import SEMIEVOL, SFT, Variant
from semievol.files import read_json
from semievol.records import Example

Recipe = dict[str, Any]
Stage = Literal["warmup", "evolve"]


def search(grid: Grid, target: Target, seed: int, options: Search) -> Recipes:
    """The best recipe of SFT, and that of SemiEvol after a warm-up with SFT's.

    Raises:
        ConfigError: there are too few labeled rows to hold some out.
    """
    config = target.with_seed(seed)
    if not options.enabled:
        return Recipes()
    dataset = grid.dataset(config)
    rest, held_out = split(dataset.labeled, options.held_out, seed)
    tuned = dataclasses.replace(dataset, labeled=rest, test=held_out)
    where = f"{target.task}/seed-{seed}/search"
    tried: list[dict[str, Any]] = []

    def best(variant: Variant, stage: Stage, before: Mapping[str, Any], rows: Dataset) -> Recipe:
        """The recipe with the highest accuracy on the slice; of equals, the first."""
        recipes, accuracies = candidates(config, options, stage), []
        slice_ = f"{len(held_out)} of the {len(dataset.labeled)} labeled rows"
        grid.reporter.say(f"{where}: {len(recipes)} recipes for {variant.name}, compared on {slice_}")
        for recipe in recipes:
            tried_config = changed(config, before, {stage: {"training": recipe}}, variant.config_options())
            name = ", ".join(f"{option} {value:g}" for option, value in recipe.items()) or "the config's"
            folder, _ = grid.run(f"{where}/{variant.name} {name}", tried_config, rows)
            found = read_json(folder.stage("evaluate").metrics_path)["models"][variant.model]
            accuracies.append(found["accuracy"])
            tried.append({"method": variant.name, **recipe, "accuracy": found["accuracy"], "rows": found["rows"]})
        return recipes[accuracies.index(max(accuracies))]

    sft = best(SFT, "warmup", {}, dataclasses.replace(tuned, unlabeled=()))
    evolve = best(SEMIEVOL, "evolve", {"warmup": {"training": sft}}, tuned)
    return Recipes(sft, evolve, tuple(tried))


def candidates(config: Config, options: Search, stage: Stage) -> list[Recipe]:
    """The recipes to try as changes of a stage's training options: its own, then every other combination."""
    epochs: Sequence[int] = options.epochs
    if not epochs and not options.learning_rates:
        usual = config.recipe("warmup").num_train_epochs
        epochs = sorted({max(1, usual // 2), usual, 2 * usual, 3 * usual})
    own = config.recipe(stage)
    others = [
        recipe
        for recipe in _combined(epochs, options.learning_rates)
        if any(getattr(own, name) != value for name, value in recipe.items())
    ]
    return [{}, *others]


def _combined(epochs: Sequence[int], rates: Sequence[float]) -> Iterator[Recipe]:
    for count in epochs or (None,):
        for rate in rates or (None,):
            recipe = {"num_train_epochs": count, "learning_rate": rate}
            yield {name: value for name, value in recipe.items() if value is not None}


def split(labeled: Sequence[Example], share: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The rows to train on, and a share of them to compare recipes on, drawn by the seed and the rows' ids.

    Raises:
        ConfigError: too few rows.
    """
    count = round(share * len(labeled))
    if not 1 <= count < len(labeled):
        raise ConfigError(
            f"{len(labeled)} labeled rows cannot be split into rows to train on and a share of {share:g} to compare "
            "recipes on; use another --held-out or --no-search"
        )
    drawn = sorted(labeled, key=lambda example: short_hash(f"{seed}/held out/{example.id}"))[:count]
    ids = {example.id for example in drawn}
    return (
        tuple(example for example in labeled if example.id not in ids),
        tuple(example for example in labeled if example.id in ids),
    )
