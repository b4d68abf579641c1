"""The config's sources, opened, and the rows that each split takes from them."""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from semievol.config import Config, DataConfig
from semievol.data.cells import text
from semievol.data.choices import Choices, choice_columns, choices, lettered_answer
from semievol.data.delimited import Dialect
from semievol.data.draw import Ranks
from semievol.data.layouts import Layout, layout_of
from semievol.data.sources import Source, resolve
from semievol.data.table import Row, Table, located
from semievol.errors import ConfigError, DataError
from semievol.records import Example

SplitName = Literal["labeled", "unlabeled", "test"]

_DRAWN: tuple[SplitName, ...] = ("test", "labeled", "unlabeled")
"""The order in which splits of one source take their rows: test rows stay the same whatever else is wanted, and
labeled ones whatever is unlabeled."""


@dataclass(frozen=True, slots=True)
class Split:
    """A source that is opened, and the rows of it that one split takes."""

    name: SplitName
    table: Table
    layout: Layout
    ranks: Ranks
    config: DataConfig
    seed: int
    by_blanks: bool = False
    """Whether labeled and unlabeled rows are one source, told apart by whether there is an answer."""

    def examples(self, answers: Layout | None) -> Iterator[tuple[str, Example]]:
        """Each drawn row's place, and its example with the raw answer, in the order of the source.

        Args:
            answers: the layout that says where the answer stands; `None` leaves it unread.

        Raises:
            DataError: a column is missing, or a row cannot be used.
        """
        for row in self.rows(answers):
            place = self.table.place(row)
            with located(place):
                example = self.example(row, self.unnamed(row))
                if answers is not None:
                    example = replace(example, answer=self._answer(answers, row))
            yield place, example

    def rows(self, answers: Layout | None) -> Iterator[Row]:
        """Each drawn row with the columns that are read, in the order of the source."""
        return self.ranks.draw(self.table.rows, self.wanted(answers), self.seed, self.table.name)

    def unnamed(self, row: Row) -> str:
        """The id of a row that brings none."""
        return f"{self.name}-{row.index}"

    def _answer(self, answers: Layout, row: Row) -> str | None:
        """The raw answer; a letter, if the row or `data.answer_index` says how the options are counted."""
        answer = answers.raw_answer(row.cells).strip()
        return lettered_answer(answer, self._choices(row), self.config.answer_index) or None

    def _choices(self, row: Row) -> Choices:
        return choices(choice_columns(self.config.columns.options, self.table.columns), row.cells)

    def wanted(self, answers: Layout | None) -> frozenset[str]:
        """The columns that are read, there or not, after a check that those are there that must be."""
        return frozenset(self.require(answers)) | set(self.layout.optional_columns)

    def require(self, answers: Layout | None) -> Iterable[str]:
        """The columns that must be there, after a check that they are."""
        columns = self.config.columns
        required = dict.fromkeys(self.layout.prompt_columns, f"data.layout {self.layout.name}")
        if self.layout.name == "columns":
            required = dict.fromkeys(self.layout.prompt_columns, "data.columns.prompt")
        for part in ("id", "category"):
            column = getattr(columns, part)
            if column is not None:
                required[column] = f"data.columns.{part}"
        for column in choice_columns(columns.options, self.table.columns):
            required[column] = "data.columns.options"
        if answers is not None:
            required.setdefault(answers.answer_column, answers.answer_option)
        for column, option in required.items():
            self.table.require(column, option)
        return required

    def example(self, row: Row, unnamed: str) -> Example:
        """The example without its answer.

        Args:
            unnamed: its id if no column has one.

        Raises:
            DataError: the row cannot be used.
        """
        columns = self.config.columns
        context, prompt = self.layout.prompt(row.cells)
        if not prompt.strip():
            raise DataError("the prompt is empty")
        identity = unnamed if columns.id is None else _cell(row, columns.id)
        if not identity:
            raise DataError(f"the id in {columns.id!r} is empty")
        return Example(
            id=identity,
            prompt=_first_words(prompt, self.config.max_prompt_words),
            options=self._choices(row).texts,
            context=context,
            category=None if columns.category is None else _cell(row, columns.category) or None,
        )


def _cell(row: Row, column: str) -> str:
    """The text in a column, without spaces around it."""
    with located(f"the column {column!r}"):
        return text(row.cells.get(column)).strip()


def open_splits(config: Config) -> dict[SplitName, Split]:
    """The splits that the config has sources for; no row is read yet but what tells the columns.

    Raises:
        DataError: a source does not exist or cannot be read, or leaves nothing for a split that shares it.
        ConfigError: the answer column is at once another column.
    """
    data = config.data
    sources = {
        name: resolve(f"data.{name}", candidates) for name in _DRAWN if (candidates := getattr(data, name)) is not None
    }
    ranks = _ranks(data, sources)
    dialect = dialect_of(data)
    tables = {
        name: source.open(streaming=ranks[name].take is not None, dialect=dialect) for name, source in sources.items()
    }
    layout = replace(layout_of(data, tables["labeled"]), takes_lists=config.task.kind == "labels")
    divided = _divided(data, sources)
    for name in divided:
        tables[name] = _where(tables[name], layout.answer_column, blank=name == "unlabeled")
    truth, read = config.evaluate.unlabeled_answers, data.columns
    if truth is not None and truth in (
        read.id,
        *choice_columns(read.options, tables["labeled"].columns),
        read.category,
    ):
        raise ConfigError(f"evaluate.unlabeled_answers: {truth!r} is also in data.columns, and would be read before")
    if truth in layout.optional_columns:
        raise ConfigError(f"evaluate.unlabeled_answers: {truth!r} is a part of the prompt, and would be read before")
    if data.answer_index is not None and read.options is None:
        raise ConfigError("data.answer_index: there are no options to count; name their column in data.columns.options")
    return {
        name: Split(name, tables[name], layout, ranks[name], data, config.seed, name in divided) for name in sources
    }


def dialect_of(data: DataConfig) -> Dialect:
    """How cells are told apart in files of text."""
    return Dialect(data.separator, data.quotes)


def _divided(data: DataConfig, sources: dict[SplitName, Source]) -> list[SplitName]:
    """The splits of a source whose rows are labeled if there is an answer, and unlabeled if there is none."""
    labeled, unlabeled = sources["labeled"], sources.get("unlabeled")
    if data.labeled_rows is not None or unlabeled is None or labeled.identities != unlabeled.identities:
        return []
    return [name for name, source in sources.items() if source.identities == labeled.identities]


def _where(table: Table, column: str, *, blank: bool) -> Table:
    """The rows that have no answer in a column, or those that have one."""

    def rows(names: Collection[str]) -> Iterator[Row]:
        for row in table.rows({*names, column}):
            if _is_blank(row.cells.get(column)) == blank:
                unasked = column not in names and column in row.cells
                yield replace(row, cells={k: v for k, v in row.cells.items() if k != column}) if unasked else row

    return replace(table, rows=rows)


def _is_blank(cell: object) -> bool:
    return (
        cell is None or (isinstance(cell, float) and math.isnan(cell)) or (isinstance(cell, str) and not cell.strip())
    )


def _ranks(data: DataConfig, sources: dict[SplitName, Source]) -> dict[SplitName, Ranks]:
    """The places of each split in its source's shuffle; those of splits that share a source do not overlap."""
    ranks: dict[SplitName, Ranks] = {}
    divided = _divided(data, sources)
    for name, source in sources.items():
        skip = 0
        for earlier, earlier_ranks in ranks.items():
            if sources[earlier].identities != source.identities:
                if common := set(sources[earlier].identities) & set(source.identities):
                    raise DataError(
                        f"data.{earlier} and data.{name} share {min(common)}, and each has other files beside it; "
                        "name the same files in both, or none twice"
                    )
                continue
            if name in divided and name == "unlabeled":
                continue
            if earlier_ranks.take is None:
                raise DataError(
                    f"data.{earlier} and data.{name} are one source, {source.name}; set data.{earlier}_rows, so that "
                    f"rows are left for data.{name}"
                )
            skip += earlier_ranks.take
        ranks[name] = Ranks(skip, getattr(data, f"{name}_rows"))
    return ranks


def _first_words(prompt: str, limit: int | None) -> str:
    """The prompt up to the end of its word number `limit`, its inner whitespace as it was."""
    parts = prompt.split(None, limit) if limit else []
    return prompt[: len(prompt) - len(parts[limit])].rstrip() if limit and len(parts) > limit else prompt
