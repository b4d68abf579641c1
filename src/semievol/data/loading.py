"""The config's sources -> examples, checked and with canonical answers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from semievol.config import Config
from semievol.config.places import Place
from semievol.data.answers import Answers
from semievol.data.checks import refuse_leaks
from semievol.data.dataset import Dataset
from semievol.data.hashes import hashes, repeated, short_hash
from semievol.data.splits import Split, SplitName, open_splits
from semievol.data.store import store
from semievol.data.table import located
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks import Task, open_task

SequenceT = TypeVar("SequenceT", bound=Sequence[object])


def load(config: Config, folder: Place | None = None) -> Dataset:
    """The rows that the config names.

    Args:
        folder: where unlabeled and test rows are stored; a temporary folder, which goes with the process, if it is
            not given.

    Raises:
        DataError: a source, column or row cannot be used, an id stands twice, or a test prompt stands in the
            training rows without `data.allow_leaks`; names the place.
        ConfigError: the columns or the task contradict each other.
    """
    splits = open_splits(config)
    labeled = _filled(splits["labeled"], list(_rows(splits["labeled"])))
    as_read = tuple(example for _, example in labeled)
    task = open_task(config.task, as_read)

    def normalized(rows: Iterable[tuple[str, Example]]) -> Iterator[Example]:
        for place, example in rows:
            with located(place):
                normalized = task.normalize(example)
            yield normalized

    rows_of: dict[str, Sequence[Example]] = {"unlabeled": (), "test": ()}
    for name, split in splits.items():
        if name != "labeled":
            rows_of[name] = _filled(split, store(normalized(_rows(split)), folder))
    dataset = Dataset(
        tuple(normalized(labeled)), rows_of["unlabeled"], rows_of["test"], task, as_read, splits["labeled"].layout.name
    )
    if config.data.columns.id is not None:  # ids made from row numbers need no check
        _refuse_repeated_ids(dataset, splits)
    if dataset.test and not config.data.allow_leaks:
        refuse_leaks(dataset)
    return dataset


def read_answers(config: Config, task: Task, ids: Collection[str] | None = None) -> Mapping[str, str | None]:
    """Row id -> canonical answer of the unlabeled source, `None` if the cell is empty.

    For the evaluation alone, after the pseudo-labels are made. The column is `evaluate.unlabeled_answers`; if it
    is a part of a layout (`messages`, `output`), the layout says where in it the answer stands.

    Args:
        ids: the rows that are wanted; every drawn one if it is not set.

    Raises:
        DataError: there is no such column, or an answer is none to this task.
    """
    return Answers((example.id, example.answer) for example in read_truth(config, task, ids))


def read_truth(config: Config, task: Task, ids: Collection[str] | None = None) -> Iterator[Example]:
    """The unlabeled rows with their canonical answers, `None` if the cell is empty; arguments as `read_answers`."""
    column = config.evaluate.unlabeled_answers
    split = open_splits(config).get("unlabeled")
    if split is None or column is None:
        return
    for place, example in split.examples(split.layout.with_answer(column)):
        if ids is None or example.id in ids:
            with located(place):
                normalized = task.normalize(example)
            yield normalized


def _rows(split: Split) -> Iterator[tuple[str, Example]]:
    """The split's rows with their places; answers are read if the split has them."""
    return split.examples(None) if split.name == "unlabeled" else _answered(split)


def _answered(split: Split) -> Iterator[tuple[str, Example]]:
    """The split's rows with their raw answers, none of them empty."""
    for place, example in split.examples(split.layout):
        if example.answer is None:
            raise DataError(f"{place}: the answer is empty{_advice(split)}")
        yield place, example


def _filled(split: Split, rows: SequenceT) -> SequenceT:
    """The rows, of which there is at least one."""
    if not rows:
        if split.by_blanks and split.name == "unlabeled":
            raise DataError(
                f"{split.table.name}: every row has an answer; set data.labeled_rows, so that the others are left for "
                "data.unlabeled"
            )
        without = " that have an answer" if split.by_blanks else ""
        raise DataError(f"{split.table.name}: has no rows{without} for data.{split.name}")
    return rows


def _advice(split: Split) -> str:
    """What makes rows without answers unlabeled ones."""
    data = split.config
    if split.name != "labeled":
        return ""
    if data.unlabeled is None:
        return "; name the source in data.unlabeled too, and its rows without answers are the unlabeled ones"
    if data.unlabeled == data.labeled:
        return "; leave data.labeled_rows out, and rows without answers are the unlabeled ones"
    return ""


def _refuse_repeated_ids(dataset: Dataset, splits: Mapping[SplitName, Split]) -> None:
    """Nothing, if every id stands once in all splits together.

    Raises:
        DataError: one stands twice; names both places, for which the sources are read again.
    """
    every = np.concatenate([hashes(example.id for example in getattr(dataset, name)) for name in splits])
    suspects = set(repeated(every).tolist())
    split_of: dict[str, str] = {}
    for name in sorted(splits, key=lambda name: name != "labeled") if suspects else ():
        for place, example in _rows(splits[name]):
            if short_hash(example.id) in suspects:
                if example.id in split_of:
                    raise DataError(f"{split_of[example.id]} and {place} have one id, {example.id!r} (data.columns.id)")
                split_of[example.id] = place
