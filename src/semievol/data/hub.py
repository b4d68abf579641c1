"""Rows of the Hugging Face hub, through `datasets`."""

import itertools
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from semievol.data.columnar import with_class_names
from semievol.data.table import Row, Table
from semievol.errors import DataError, MissingExtraError

_SOURCE = re.compile(r"hub:(?P<name>[^#:]+)(?:#(?P<config>[^:]+))?(?::(?P<split>.+))?")


def open_hub(source: str, streaming: bool) -> Table:
    """The table behind `hub:owner/name#config:split`; config and split may be left out if there is only one.

    Args:
        streaming: rows are read over the network one by one and nothing is kept on disk. The draw still passes
            over the whole split, or it would not be a draw, first with one column to count its rows. A sliced split
            (`train[:10%]`) is never streamed.

    Raises:
        DataError: no such data set, config or split, or the hub cannot be reached.
        MissingExtraError: `datasets` is not installed.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise DataError(f"{source}: not of the form hub:owner/name#config:split")
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(f"{source}: needs datasets; pip install 'semievol[hub]'") from error
    split = match["split"]
    with _reachable(source):
        dataset = datasets.load_dataset(
            match["name"], match["config"], split=split, streaming=streaming and "[" not in (split or "")
        )
    if isinstance(dataset, dict):
        if len(dataset) != 1:
            raise DataError(
                f"{source}: has the splits {', '.join(dataset)}; name one, as in {source}:{next(iter(dataset))}"
            )
        (dataset,) = dataset.values()
    columns = _columns(source, dataset)
    classes = {
        column: list(feature.names)
        for column, feature in (dataset.features or {}).items()
        if isinstance(feature, datasets.ClassLabel)
    }

    def rows(names: Collection[str]) -> Iterator[Row]:
        selected = dataset.select_columns([column for column in columns if column in names] or list(columns[:1]))
        with _reachable(source):
            for index, cells in enumerate(selected):
                yield Row(index, with_class_names(cells, classes))

    return Table(source, columns, rows)


def _columns(source: str, dataset: Any) -> tuple[str, ...]:
    """The column names; a streamed set whose features are not declared is asked for its first row."""
    if dataset.column_names is not None:
        return tuple(dataset.column_names)
    with _reachable(source):
        first = next(itertools.islice(iter(dataset), 1), None)
    if first is None:
        raise DataError(f"{source}: is empty")
    return tuple(first)


@contextmanager
def _reachable(source: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # what `datasets` and `huggingface_hub` raise
        raise DataError(f"{source}: {error}") from error
