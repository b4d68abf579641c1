"""What was measured: here, or in another call whose results are read back from its folder."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semievol.config import build
from semievol.errors import ExperimentError
from semievol.experiments import outcomes
from semievol.experiments.grid import Recipes, Result
from semievol.experiments.methods import Method
from semievol.experiments.outcomes import Outcomes
from semievol.experiments.targets import Target
from semievol.run_folder.files import write_text
from semievol.run_folder.folder import OF_THE_SYSTEM
from semievol.run_folder.keys import differences

RESULTS, OUTCOMES = "results.json", "outcomes.parquet"
NO_MATTER = {"seed", "output", "costs"}
"""Options in which seeds of a table may differ."""


@dataclass(frozen=True)
class Measurements:
    """Cells with what they are cells of."""

    targets: Sequence[Target]
    methods: Mapping[tuple[str, str], Mapping[str, Method]]
    """(task, base) -> its methods by their names; their options may rest on the task's config."""
    results: Sequence[Result]
    """Of every cell, failed ones too."""
    searched: Mapping[tuple[str, str, int], Recipes]
    """(task, base, seed) -> the recipes that were found."""
    uneven: frozenset[str]
    """The tasks whose classes are so uneven that macro-F1 belongs beside the accuracy."""

    @property
    def all_methods(self) -> dict[str, Method]:
        """By their names, in the order of the table's rows: that of the target with most of them, then the others."""
        widest_first = sorted(self.methods.values(), key=lambda methods: -len(methods))
        return {name: method for methods in widest_first for name, method in methods.items()}


def require_own(folder: Path) -> None:
    """Raises ExperimentError unless the folder is an experiment's, empty, or not there.

    Raises:
        ExperimentError: it is somebody else's: an experiment would replace a results.csv there.
    """
    strangers = {path.name for path in folder.iterdir()} - OF_THE_SYSTEM if folder.is_dir() else set[str]()
    if strangers and strangers.isdisjoint({RESULTS, "logs"}):
        names = ", ".join(sorted(strangers)[:3])
        raise ExperimentError(f"{folder}: holds {names} and is no experiment's folder; name another one with --out")


def write(measurements: Measurements, about: Mapping[str, Any], summary: Mapping[str, Any], folder: Path) -> None:
    """Writes results.json, with what it is about before and what was found behind the cells, and outcomes.parquet."""
    outcomes.write(folder / OUTCOMES, {result.place: result.outcomes for result in measurements.results})
    content = {**about, **_fields(measurements), **summary}
    write_text(folder / RESULTS, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read(folder: Path, experiment: str) -> Measurements:
    """What another call has left in its folder.

    Raises:
        ExperimentError: it has left nothing there, not all of it, or was another experiment.
        ConfigError: it had options that this version does not have.
    """
    missing = [name for name in (RESULTS, OUTCOMES) if not (folder / name).exists()]
    if missing:
        raise ExperimentError(f"--add {folder}: no {missing[0]} there; it takes the folder of an experiment's results")
    fields = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    if fields["experiment"] != experiment:
        raise ExperimentError(f"--add {folder}: these are results of {fields['experiment']}, not of {experiment}")
    rows = outcomes.read(folder / OUTCOMES)
    results = [Result(**row) for row in fields["results"]]
    return Measurements(
        targets=[
            Target(
                target["task"], target["base"], build(target["config"], source=f"{folder / RESULTS}"), target["source"]
            )
            for target in fields["targets"]
        ],
        methods={
            (target["task"], target["base"]): {method["name"]: Method(**method) for method in target["methods"]}
            for target in fields["targets"]
        },
        results=[dataclasses.replace(result, outcomes=rows.get(result.place, Outcomes())) for result in results],
        searched={_of_search(search): _recipes(search) for search in fields["searches"]},
        uneven=frozenset(target["task"] for target in fields["targets"] if target["uneven"]),
    )


def require_same(own: Measurements, earlier: Mapping[str, Measurements]) -> None:
    """Raises ExperimentError if not all can stand in one table.

    Args:
        earlier: by what messages call them.

    Raises:
        ExperimentError: the same task or method had other options there.
    """
    for where, measurements in earlier.items():
        if different := list(_different(measurements, own)):
            raise ExperimentError(f"{where}: not the same experiment as here: {'; '.join(different)}")


def together(own: Measurements, earlier: Iterable[Measurements]) -> Measurements:
    """Everything in one; of a cell that is in several the last one counts, and that of `own` before all."""
    parts = [*earlier, own]
    targets = {(target.task, target.base): target for part in parts for target in part.targets}
    methods: dict[tuple[str, str], dict[str, Method]] = {}
    for part in sorted(parts, key=lambda part: -len(part.all_methods)):  # the order of its rows stays
        for target, methods_of_target in part.methods.items():
            methods.setdefault(target, {}).update(methods_of_target)
    cells = {result.place: result for part in parts for result in part.results}
    columns = list(targets)

    def order(result: Result) -> tuple[int, int, int]:
        rows = list(methods[result.task, result.base])
        return columns.index((result.task, result.base)), result.seed, rows.index(result.method)

    return Measurements(
        targets=list(targets.values()),
        methods=methods,
        results=sorted(cells.values(), key=order),
        searched={place: recipes for part in parts for place, recipes in part.searched.items()},
        uneven=frozenset().union(*(part.uneven for part in parts)),
    )


def _different(measurements: Measurements, own: Measurements) -> Iterator[str]:
    """A line for each option in which what both have differs."""
    targets = {(target.task, target.base): target for target in own.targets}
    for target_there in measurements.targets:
        if twin := targets.get((target_there.task, target_there.base)):
            old, new = (target.config.model_dump(mode="json", exclude=NO_MATTER) for target in (target_there, twin))
            yield from (f"{target_there.task}, {line}" for line in differences(old, new))
    for target, methods in measurements.methods.items():
        own_methods = own.methods.get(target, {})
        for name in methods.keys() & own_methods.keys():
            old, new = (_plain(dataclasses.asdict(method)) for method in (methods[name], own_methods[name]))
            yield from (f"{target[0]}, {name}, {line}" for line in differences(old, new))


def _fields(measurements: Measurements) -> dict[str, Any]:
    return {
        "targets": [
            {
                "task": target.task,
                "base": target.base,
                "source": target.source,
                "uneven": target.task in measurements.uneven,
                "config": target.config.model_dump(mode="json"),
                "methods": [
                    dataclasses.asdict(method) for method in measurements.methods[target.task, target.base].values()
                ],
            }
            for target in measurements.targets
        ],
        "searches": [
            {"task": task, "base": base, "seed": seed, **dataclasses.asdict(recipes)}
            for (task, base, seed), recipes in measurements.searched.items()
        ],
        "results": [_of_result(result) for result in measurements.results],
    }


def _of_result(result: Result) -> dict[str, Any]:
    return {name: value for name, value in vars(result).items() if name != "outcomes"}


def _of_search(fields: Mapping[str, Any]) -> tuple[str, str, int]:
    return fields["task"], fields["base"], fields["seed"]


def _recipes(fields: Mapping[str, Any]) -> Recipes:
    return Recipes(fields["sft"], fields["evolve"], tuple(fields["tried"]), fields["folds"])


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain
