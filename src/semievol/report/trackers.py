"""The figures of a run for the trackers of `training.report_to`: what each stage came to, not two loss curves alone."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semievol.config import Config
from semievol.costs.budget import costs
from semievol.run_folder.files import read_json
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import at_address

logger = logging.getLogger(__name__)

PROJECT = "semievol"


def track(folder: RunFolder, config: Config) -> list[str]:
    """Sends the figures of all stages that are done to the trackers of both trainings; a line for each that refuses.

    What a tracker cannot do never ends a run.
    """
    recipes = (config.recipe("warmup"), config.recipe("evolve"))
    names = dict.fromkeys(name for recipe in recipes if recipe.kind != "hosted" for name in recipe.report_to)
    lines = []
    for name in names:
        try:
            _send(name, folder, config)
        except Exception as error:  # a tracker may raise anything
            logger.warning("training.report_to: %s", name, exc_info=True)
            lines.append(f"training.report_to: {name} was not told of the run: {type(error).__name__}: {error}")
    return lines


def figures(folder: RunFolder) -> dict[str, float]:
    """Every number of every stage by `stage/name`, of later rounds by `round-2/stage/name`; the test's by model."""
    numbers: dict[str, float] = {}
    for round_, stage in folder.stages():
        if stage.is_done:
            prefix = stage.name if round_ == 1 else f"round-{round_}/{stage.name}"
            numbers |= dict(_numbers(prefix, stage.summary()))
    evaluated = folder.stage("evaluate")
    if evaluated.is_done:
        content = read_json(evaluated.metrics_path)
        for part in ("models", "pseudo_labels"):
            numbers |= dict(_numbers(part, content.get(part) or {}))
    if folder.costs_path.exists():
        numbers |= {"costs/dollars": costs(folder).dollars}
    return numbers


def _numbers(prefix: str, content: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}/{name}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}/{name}", float(value)


def _send(name: str, folder: RunFolder, config: Config) -> None:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # by which a tracker knows the main process
    tracker_class = LOGGER_TYPE_TO_CLASS[name]
    tracker = tracker_class(*_place(name, folder), **_run_name(name, folder))
    tracker.start()
    tracker.store_init_configuration(dict(_options(config)))
    tracker.log(figures(folder), step=0)
    tracker.finish()


def _place(name: str, folder: RunFolder) -> Sequence[str]:
    """The project, and where files go if the tracker writes any."""
    if name in ("tensorboard", "dvclive"):
        return name, "logs" if at_address(folder.path) else str(folder.path / "logs")
    return (PROJECT,)


def _run_name(name: str, folder: RunFolder) -> Mapping[str, str]:
    argument = {"wandb": "name", "trackio": "name", "swanlab": "experiment_name", "mlflow": "run_name"}.get(name)
    return {} if argument is None else {argument: folder.path.name}


def _options(config: Config) -> Iterator[tuple[str, str | int | float | bool]]:
    """What tells one run from another, flat."""
    content = config.model_dump(mode="json", include={"preset", "seed", "rounds", "warmup", "select", "evolve"})
    yield "model", config.model.name
    yield "task", config.task.kind
    for section, value in content.items():
        pairs = value.items() if isinstance(value, Mapping) else [("", value)]
        for option, one in pairs:
            if isinstance(one, str | int | float | bool):
                yield f"{section}.{option}".rstrip("."), one
