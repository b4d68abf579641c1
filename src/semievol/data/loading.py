"""The config's sources -> examples, checked and with canonical answers."""

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from semievol.config import Config
from semievol.data.checks import refuse_leaks
from semievol.data.dataset import Dataset
from semievol.data.splits import Split, open_splits
from semievol.data.table import located
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks import Task, open_task

T = TypeVar("T")


def load(config: Config) -> Dataset:
    """The rows that the config names.

    Raises:
        DataError: a source, column or row cannot be used, an id stands twice, or a test prompt stands in the
            training rows without `data.allow_leaks`; names the place.
        ConfigError: the columns or the task contradict each other.
    """
    splits = open_splits(config)
    seen: dict[str, str] | None = None if config.data.columns.id is None else {}
    labeled = _filled(splits["labeled"], _unique(_answered(splits["labeled"]), seen))
    task = open_task(config.task, [example for _, example in labeled])

    def normalized(rows: Iterable[tuple[str, Example]]) -> Iterator[Example]:
        for place, example in rows:
            with located(place):
                done = task.normalize(example)
            yield done

    others: dict[str, tuple[Example, ...]] = {"unlabeled": (), "test": ()}
    for name, split in splits.items():
        if name != "labeled":
            rows = split.examples(None) if name == "unlabeled" else _answered(split)
            others[name] = tuple(_filled(split, normalized(_unique(rows, seen))))
    dataset = Dataset(tuple(normalized(labeled)), others["unlabeled"], others["test"], task)
    if not config.data.allow_leaks:
        refuse_leaks(dataset)
    return dataset


def read_answers(config: Config, task: Task, ids: Collection[str] | None = None) -> dict[str, str | None]:
    """Row id -> canonical answer of the unlabeled source, `None` where the cell is empty.

    For the evaluation alone, after the pseudo-labels are made. The column is `evaluate.unlabeled_answers`; where it
    is a part of a layout (`messages`, `output`), the layout says where in it the answer stands.

    Args:
        ids: the rows that are wanted; every drawn one where it is not set.

    Raises:
        DataError: there is no such column, or an answer is none to this task.
    """
    column = config.evaluate.unlabeled_answers
    split = open_splits(config).get("unlabeled")
    if split is None or column is None:
        return {}
    answers: dict[str, str | None] = {}
    for place, example in split.examples(split.layout.with_answer(column)):
        if ids is None or example.id in ids:
            with located(place):
                answers[example.id] = task.normalize(example).answer if example.answer is not None else None
    return answers


def _answered(split: Split) -> Iterator[tuple[str, Example]]:
    """The split's rows with their raw answers, none of them empty."""
    for place, example in split.examples(split.layout):
        if example.answer is None:
            raise DataError(f"{place}: the answer is empty")
        yield place, example


def _unique(rows: Iterable[tuple[str, Example]], seen: dict[str, str] | None) -> Iterator[tuple[str, Example]]:
    """The rows, each id checked against those seen so far; ids made from row numbers need no check."""
    for place, example in rows:
        if seen is not None:
            if example.id in seen:
                raise DataError(f"{seen[example.id]} and {place} have one id, {example.id!r} (data.columns.id)")
            seen[example.id] = place
        yield place, example


def _filled(split: Split, rows: Iterable[T]) -> list[T]:
    """The rows, of which there is at least one."""
    found = list(rows)
    if not found:
        raise DataError(f"{split.table.name}: has no rows for data.{split.name}")
    return found
