"""The task that a run's models were trained on, kept in the run folder: it outlives the training data."""

import dataclasses
import json
from typing import Any

from semievol.config import Config
from semievol.data import Dataset, load
from semievol.data.layouts import layout_of
from semievol.data.splits import open_splits
from semievol.records import Example
from semievol.run_folder.files import read_json
from semievol.run_folder.folder import RunFolder
from semievol.tasks import Task, open_task


def described_task(config: Config, dataset: Dataset) -> str:
    """What the task was made from, as JSON: its options, the labeled rows as they were read, and their layout."""
    content = {
        "task": config.task.model_dump(mode="json"),
        "layout": dataset.layout,
        "labeled": [dataclasses.asdict(example) for example in dataset.as_read],
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def trained_task(config: Config, folder: RunFolder) -> tuple[Task, str]:
    """The task, and how its rows are laid out.

    If an older version has kept none, or the config asks for another task, the training data is read.

    Raises:
        DataError: it has to be read and cannot be.
    """
    if folder.task_path.exists():
        content = read_json(folder.task_path)
        if content["task"] == config.task.model_dump(mode="json"):
            return open_task(config.task, [_example(fields) for fields in content["labeled"]]), content["layout"]
    return load(config).task, layout_of(config.data, open_splits(config)["labeled"].table).name


def _example(fields: dict[str, Any]) -> Example:
    tuples = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Example(**{**fields, **tuples})
