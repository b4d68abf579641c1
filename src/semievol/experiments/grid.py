"""Runs the cells of a grid: each an ordinary run, of which no two compute the same."""

import dataclasses
import hashlib
import json
import re
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semievol.config import Config, changed
from semievol.data import Dataset, digest, load, read_truth
from semievol.executors import open_executor
from semievol.experiments import outcomes
from semievol.experiments.methods import Method
from semievol.experiments.outcomes import CellKey, Outcomes
from semievol.experiments.sharing import Shelf
from semievol.experiments.targets import Target
from semievol.forecast.decisions import pinned
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.run_folder.files import read_json
from semievol.run_folder.folder import RunFolder
from semievol.stages.round import CODE_VERSION

_HELD = 3
"""Data sets in memory."""


@dataclass(frozen=True)
class Recipes:
    """Changes of the training options, as the search found them."""

    sft: dict[str, Any] = dataclasses.field(default_factory=dict)
    evolve: dict[str, Any] = dataclasses.field(default_factory=dict)
    tried: tuple[dict[str, Any], ...] = ()
    """Each recipe with its accuracy on the held-out rows; empty without a search."""
    folds: int = 1
    """Trainings of each, on other parts of the labeled rows."""


@dataclass(frozen=True)
class Cell:
    """One method on one target with one seed."""

    target: Target
    seed: int
    method: Method


@dataclass(frozen=True)
class Result:
    """What came of a cell."""

    task: str
    base: str
    method: str
    seed: int
    model: str
    """Whose answers were measured."""
    metrics: dict[str, Any] | None
    """As in the run's metrics.json; `None` if the cell failed."""
    run: str
    """The run folder; empty if the cell failed before there was one."""
    config_digest: str
    recipes: dict[str, Any]
    """Epochs and learning rate of the trainings."""
    facts: dict[str, Any]
    """Versions and machine."""
    error: str | None = None
    pseudo_labels: dict[str, Any] | None = None
    """How many are right, as in the run's metrics.json; `None` if there are none or their truth is not known."""
    failed_requests: int = 0
    """Requests of the run that were never answered; a test row among them counts as wrong."""
    outcomes: Outcomes = dataclasses.field(default_factory=Outcomes, repr=False)
    """Of the test rows; none if the cell failed."""

    @property
    def place(self) -> CellKey:
        """What it is the result of."""
        return self.task, self.base, self.method, self.seed


class Grid:
    """Runs cells below one folder."""

    def __init__(self, out: Path, reporter: Reporter) -> None:
        self.out, self.reporter = out, reporter
        self.shelf = Shelf(out / "shared")
        self._datasets: OrderedDict[str, Dataset] = OrderedDict()

    def dataset(self, config: Config) -> Dataset:
        """The rows of a config; the last few are held."""
        key = _digest(config.model_dump(mode="json", include={"data", "task", "seed"}))
        if key not in self._datasets:
            self._datasets[key] = load(config, self.shelf.rows_path)
            if len(self._datasets) > _HELD:
                self._datasets.popitem(last=False)
        self._datasets.move_to_end(key)
        return self._datasets[key]

    def prepared(self, cell: Cell, recipes: Recipes) -> tuple[Config, Dataset]:
        """The config and the rows of a cell's run."""
        config = changed(
            cell.target.with_seed(cell.seed), trained_with(recipes, cell.method), cell.method.config_options()
        )
        dataset = self.dataset(config)
        if cell.method.truth:
            rows = read_truth(cell.target.with_seed(cell.seed), dataset.task)
            with_truth = tuple(example for example in rows if example.answer is not None)
            dataset = dataclasses.replace(dataset, labeled=(*dataset.labeled, *with_truth))
        return config, dataset

    def measure(self, cell: Cell, recipes: Recipes) -> Result:
        """The figures of a cell.

        Raises:
            SemiEvolError: the run cannot be, or was stopped; what is finished is kept.
        """
        config, dataset = self.prepared(cell, recipes)
        where = f"{cell.target.task}/seed-{cell.seed}/{cell.method.name}"
        folder, config = self.run(where, config, dataset)
        evaluated = folder.stage("evaluate")
        content = read_json(evaluated.metrics_path)
        return Result(
            task=cell.target.task,
            base=cell.target.base,
            method=cell.method.name,
            seed=cell.seed,
            model=cell.method.model,
            metrics=content["models"][cell.method.model],
            run=str(folder.path),
            config_digest=_config_digest(config),
            recipes=_recipes(config),
            facts=_facts(folder),
            pseudo_labels=content.get("pseudo_labels"),
            failed_requests=sum(1 for _, stage in folder.stages() for _ in stage.failures()),
            outcomes=outcomes.of_answers(evaluated.answers_path(cell.method.model)),
        )

    def run(self, where: str, config: Config, dataset: Dataset) -> tuple[RunFolder, Config]:
        """A finished run of the config on these rows, and the config with all that was decided.

        Requests that failed in an earlier session are asked again. The folder's name stands for the config and the
        rows, so that another of either is another folder.
        """
        with closing(open_executor(config)) as executor:
            models = RunFolder(self.shelf.path / "models" / slug(config.model.name))
            config = pinned(config, models, executor, self.reporter)
        rows = [digest(split) for split in (dataset.labeled, dataset.unlabeled, dataset.test)]
        made_from = _digest([_config_digest(config), rows, dict(CODE_VERSION)])
        parts = where.split("/")
        folder = RunFolder(Path(self.out, "runs", *map(slug, parts[:-1]), f"{slug(parts[-1])}-{made_from[:12]}"))
        config = changed(config, {"output": str(folder.path)})
        if not folder.stage("evaluate").is_done or any(stage.may_change for _, stage in folder.stages()):
            run(config, reporter=self.reporter, dataset=dataset, sharing=self.shelf)
        return folder, config


def trained_with(recipes: Recipes, method: Method) -> dict[str, Any]:
    """The searched recipes as options; the oracle's rows are as many as evolution's, and take its recipe."""
    changes: dict[str, Any] = {"warmup": {"training": recipes.evolve if method.truth else recipes.sft}}
    if method.evolve_recipe == "searched":
        changes["evolve"] = {"training": recipes.evolve}
    return changes


def failed(cell: Cell, error: Exception) -> Result:
    """The result of a cell that could not be measured."""
    return Result(
        task=cell.target.task,
        base=cell.target.base,
        method=cell.method.name,
        seed=cell.seed,
        model=cell.method.model,
        metrics=None,
        run="",
        config_digest="",
        recipes={},
        facts={},
        error=str(error),
    )


def slug(text: str) -> str:
    """The text as a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "unnamed"


def _recipes(config: Config) -> dict[str, Any]:
    names = {"num_train_epochs", "learning_rate"}
    stages: tuple[Literal["warmup", "evolve"], ...] = ("warmup", "evolve")
    return {stage: config.recipe(stage).model_dump(include=names) for stage in stages}


def _facts(folder: RunFolder) -> dict[str, Any]:
    """Versions and machine of the process that finished the run."""
    session = folder.facts()["sessions"][-1]
    return {name: session.get(name) for name in ("started", "commit", "versions", "machine")}


def _config_digest(config: Config) -> str:
    """Stands for everything that a result depends on; what it may cost is not among it."""
    return _digest(config.model_dump(mode="json", exclude={"output", "costs"}))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
