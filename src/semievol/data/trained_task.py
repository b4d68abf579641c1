"""The task that a run's models were trained on, kept in the run folder: it outlives the training data."""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from semievol.config import Config, TaskConfig
from semievol.data import Dataset, load
from semievol.data.layouts import layout_of
from semievol.data.splits import open_splits
from semievol.errors import DataError
from semievol.records import Example
from semievol.run_folder.files import read_json
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.sums import sealed
from semievol.tasks import Task, open_task


def described_task(config: Config, dataset: Dataset) -> str:
    """What the task was made from, as JSON: its options, the labeled rows as they were read, and their layout."""
    return task_text(config.task, dataset.layout, dataset.as_read)


def task_text(config: TaskConfig, layout: str, rows: Sequence[Example]) -> str:
    """What a task is made from, as JSON."""
    content = {
        "task": config.identity(),
        "layout": layout,
        "labeled": [dataclasses.asdict(example) for example in rows],
    }
    return json.dumps(sealed(content), ensure_ascii=False) + "\n"


def trained_task(config: Config, folder: RunFolder) -> tuple[Task, str]:
    """The task, and how its rows are laid out.

    If an older version has kept none, or the config asks for another task, the training data is read.

    Raises:
        DataError: it has to be read and cannot be.
    """
    if folder.task_path.exists():
        content = read_json(folder.task_path)
        if content["task"] == config.task.identity():
            return open_task(config.task, [_example(fields) for fields in content["labeled"]]), content["layout"]
    return load(config).task, layout_of(config.data, open_splits(config)["labeled"].table).name


def kept_rows(folder: RunFolder) -> list[Example]:
    """The labeled rows as they were read, which the run has kept; none if an older version has kept none."""
    return [_example(fields) for fields in read_json(folder.task_path)["labeled"]] if folder.task_path.exists() else []


def in_own_words(config: TaskConfig, task: Task, rows: Sequence[Example]) -> tuple[TaskConfig, Sequence[Example]]:
    """The task with what it has learned from labeled rows said in its options, and the rows that it needs still.

    Args:
        task: made from `config` and `rows`.
        rows: the labeled rows as they were read. None of them comes back, unless the task would be another without.
    """
    labels = getattr(task, "labels", task.answers)() if config.kind in ("label", "labels") else None
    said: dict[str, Any] = {"labels": labels, "instruction": getattr(task, "instruction", None)}
    said = {name: value for name, value in said.items() if value is not None}
    own = config.model_copy(update={**said, "label_descriptions": {}})  # which the instruction holds
    with suppress(DataError):
        if _is_same(task, open_task(own, ()), rows):
            return own, ()
    return config, rows


def _is_same(task: Task, other: Task, rows: Sequence[Example]) -> bool:
    """Whether two tasks ask and read alike, as far as these rows show."""
    if task.stops() != other.stops() or task.answers() != other.answers():
        return False
    for row in rows:
        texts = (task.response(task.normalize(row)), row.answer or "")
        if task.messages(row) != other.messages(row):
            return False
        if any(task.parse(text, row) != other.parse(text, row) for text in texts):
            return False
    return True


def _example(fields: dict[str, Any]) -> Example:
    tuples = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Example(**{**fields, **tuples})
