"""What a file of rows seems to hold: its prompt, its answer, the kind of its task; each guess with its reason."""

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from semievol.config import DataConfig
from semievol.data.cells import text
from semievol.data.choices import choices
from semievol.data.layouts import layout_of
from semievol.data.table import Table
from semievol.errors import ConfigError, DataError
from semievol.tasks.labels import NO_LABELS

LOOKED_AT = 2_000
"""Rows that a guess is made from."""
FEW = 60
"""More different answers than this are no labels."""
MOST_LABELS_WRITTEN = 30
"""A config names so many labels; more are read from the labeled rows."""
ANSWER_NAMES = (
    *("answer", "gt", "gold", "label", "labels", "target", "class", "category", "intent", "topic", "sentiment"),
    *("tag", "tags", "team", "output", "completion", "response", "solution", "y"),
)
PROMPT_NAMES = (
    *(
        "prompt",
        "question",
        "text",
        "body",
        "content",
        "input",
        "message",
        "review",
        "sentence",
        "description",
        "query",
    ),
    *("document", "comment", "post", "tweet"),
)
BODY_NAMES = ("text", "body", "content", "message", "review", "description", "document", "comment", "post")
"""Of these, those below which a heading may stand."""
CATEGORY_NAMES = ("category", "subject", "domain", "topic", "type", "source")
HEADING_NAMES = ("subject", "title", "headline", "summary")
OPTION_NAMES = ("options", "choices", "endings")
_NUMBER = re.compile(r"[-+$€£]?\s?\d[\d,.\s]*(?:%|[kKmM])?")
_BETWEEN = re.compile(r"[;|]|,(?!\d)")
_SOLUTION = re.compile(r"####\s*\S")


@dataclass(frozen=True)
class Guess:
    """An option's value, and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class ColumnFacts:
    """What the looked-at rows hold in a column."""

    name: str
    texts: tuple[str, ...]
    """Of the cells that hold text, without spaces around it."""
    rows: int
    structured: int
    """Cells that hold a list or an object."""

    @property
    def words(self) -> float:
        """In the middle cell."""
        return statistics.median(len(cell.split()) for cell in self.texts) if self.texts else 0.0

    @property
    def distinct(self) -> int:
        """Different texts."""
        return len(set(self.texts))

    @property
    def blanks(self) -> int:
        """Cells in which nothing stands."""
        return self.rows - len(self.texts) - self.structured

    @property
    def numbers(self) -> float:
        """The share of numbers."""
        return sum(_NUMBER.fullmatch(cell) is not None for cell in self.texts) / max(len(self.texts), 1)

    @property
    def repeats(self) -> bool:
        """Whether its texts are few and come again, as labels do."""
        return 1 < self.distinct <= FEW and len(self.texts) >= 2 * self.distinct


@dataclass(frozen=True)
class Guesses:
    """Everything that a config needs to know of a file."""

    prompt: Guess
    answer: Guess
    kind: Guess
    layout: str = "columns"
    options: Guess | None = None
    id: Guess | None = None
    category: Guess | None = None
    labels: Guess | None = None
    """With the counts of its rows as the value."""
    answer_pattern: Guess | None = None
    words: float = 0.0
    """Of the prompt in the middle."""
    rows: int = 0
    """Of the source; of chats, those that were looked at."""
    answered: int = 0
    """Of these, those with an answer."""


def guess(table: Table, named: Mapping[str, str]) -> Guesses:
    """What the table seems to hold.

    Args:
        named: what the user has said of `prompt`, `answer` and `kind`.

    Raises:
        DataError: the table has no rows, or no column of a name that the user gave.
        ConfigError: no column looks like a prompt, or like an answer.
    """
    rows = [row.cells for row in itertools.islice(table.rows(frozenset(table.columns)), LOOKED_AT)]
    if not rows:
        raise DataError(f"{table.name}: has no rows")
    for part in ("prompt", "answer"):
        if part in named:
            table.require(named[part], f"--{part}")
    if not named and (layout := _layout(table)) is not None:
        return _of_layout(layout, table, rows)
    columns = {name: _facts(name, rows) for name in table.columns}
    answer = _answer(table, columns, named)
    rest = {name: column for name, column in columns.items() if name != answer.value}
    options = _options(rest, rows)
    taken = () if options is None else (options.value,) if isinstance(options.value, str) else options.value
    rest = {name: column for name, column in rest.items() if name not in taken}
    prompt = _prompt(table, rest, named)
    in_prompt = (prompt.value,) if isinstance(prompt.value, str) else prompt.value
    beside = {name: column for name, column in rest.items() if name not in in_prompt}
    kind, pattern = _kind(columns[answer.value], options, named)
    facts = _every(answer.value, table) if len(rows) == LOOKED_AT else columns[answer.value]
    return Guesses(
        prompt=prompt,
        answer=answer,
        kind=kind,
        options=options if kind.value == "multiple_choice" else None,
        id=_id(beside),
        category=_category(beside),
        labels=_labels(facts) if kind.value == "label" else None,
        answer_pattern=pattern,
        words=sum(columns[name].words for name in in_prompt),
        rows=facts.rows,
        answered=len(facts.texts),
    )


def _every(name: str, table: Table) -> ColumnFacts:
    """What the whole source holds in a column."""
    return _facts(name, [row.cells for row in table.rows(frozenset({name}))])


def _layout(table: Table) -> str | None:
    """The layout that the columns show, if it is not one of single columns."""
    name = layout_of(DataConfig(), table).name
    return None if name == "columns" else name


def _of_layout(name: str, table: Table, rows: Sequence[Mapping[str, Any]]) -> Guesses:
    """The guesses for rows that are chats, or that name their parts themselves."""
    layout = layout_of(DataConfig(layout=name), table)  # type: ignore[arg-type]
    prompts, answers = [], []
    for cells in rows:
        prompts.append(layout.prompt(cells)[1])
        answers.append(layout.answer(cells).strip())
    facts = ColumnFacts(layout.answer_column, tuple(filter(None, answers)), len(rows), 0)
    kind, pattern = _kind(facts, None, {})
    reason = f"the columns are those of the layout {name}"
    return Guesses(
        prompt=Guess(layout.prompt_columns[0], reason),
        answer=Guess(layout.answer_column, reason),
        kind=kind,
        layout=name,
        labels=_labels(facts) if kind.value == "label" and len(rows) < LOOKED_AT else None,
        answer_pattern=pattern,
        words=statistics.median(len(prompt.split()) for prompt in prompts),
        rows=len(rows),
        answered=len(facts.texts),
    )


def _facts(name: str, rows: Sequence[Mapping[str, Any]]) -> ColumnFacts:
    texts, structured = [], 0
    for cells in rows:
        value = cells.get(name)
        if isinstance(value, list | tuple) and name.casefold() in ANSWER_NAMES:
            value = "; ".join(value) if all(isinstance(part, str) for part in value) else value
        try:
            cell = text(value).strip()
        except DataError:
            structured += 1
            continue
        if cell:
            texts.append(cell)
    return ColumnFacts(name, tuple(texts), len(rows), structured)


def _answer(table: Table, columns: Mapping[str, ColumnFacts], named: Mapping[str, str]) -> Guess:
    if "answer" in named:
        return Guess(named["answer"], "you said so")
    filled = {name: column for name, column in columns.items() if column.texts}
    for name in ANSWER_NAMES:
        for column in filled:
            if column.casefold() == name and len(filled) > 1:
                return Guess(column, "its name")
    repeating = [column for column in filled.values() if column.repeats and column.words <= 5]
    if not repeating:
        raise ConfigError(
            f"{table.name}: none of the columns {', '.join(map(repr, table.columns))} looks like an answer; "
            "name it with --answer"
        )
    fewest = min(repeating, key=lambda column: (column.distinct, -table.columns.index(column.name)))
    return Guess(fewest.name, f"{fewest.distinct} different texts in {len(fewest.texts)} rows")


def _options(columns: Mapping[str, ColumnFacts], rows: Sequence[Mapping[str, Any]]) -> Guess | None:
    """Where the options of multiple choice stand, if all rows that were looked at have some."""
    names = [name for name in columns if name.casefold() in OPTION_NAMES]
    for name in names:
        try:
            counts = {len(choices((name,), cells).texts) for cells in rows}
        except DataError:
            continue
        return Guess(name, f"its name, and {_numbers(counts)} options in each row")
    letters = tuple(itertools.takewhile(lambda letter: letter in columns, ascii_uppercase))
    return Guess(letters, "columns called A, B and so on") if len(letters) > 1 else None


def _prompt(table: Table, columns: Mapping[str, ColumnFacts], named: Mapping[str, str]) -> Guess:
    if "prompt" in named:
        return Guess(named["prompt"], "you said so")
    texts = {name: column for name, column in columns.items() if column.texts and column.numbers < 0.5}
    if not texts:
        raise ConfigError(
            f"{table.name}: none of the columns {', '.join(map(repr, table.columns))} looks like a prompt; "
            "name it with --prompt"
        )
    longest = max(texts.values(), key=lambda column: column.words)
    body, reason = longest.name, f"the longest texts, {longest.words:.0f} words in the middle"
    for name in PROMPT_NAMES:
        for column in texts.values():
            if column.name.casefold() == name and column.words * 3 >= longest.words:
                headings = [other for other in texts if _is_heading(texts[other]) and other != column.name]
                if headings and name in BODY_NAMES:
                    return Guess((headings[0], column.name), "their names: a heading and what stands below it")
                return Guess(column.name, "its name")
    return Guess(body, reason)


def _is_heading(column: ColumnFacts) -> bool:
    return column.name.casefold() in HEADING_NAMES and not column.repeats


def _kind(answers: ColumnFacts, options: Guess | None, named: Mapping[str, str]) -> tuple[Guess, Guess | None]:
    """The kind of the task, and the pattern of an answer in a worked solution."""
    if "kind" in named:
        return Guess(named["kind"], "you said so"), None
    if sum(_SOLUTION.search(answer) is not None for answer in answers.texts) > 0.9 * len(answers.texts):
        reason = "the answers are solutions that end with ####"
        return Guess("number", reason), Guess(r"####\s*(.+)", reason)
    if options is not None and not answers.repeats:
        return Guess("multiple_choice", "there are options"), None
    if options is not None and set(answers.texts) <= {*ascii_uppercase[:10], *map(str, range(10))}:
        return Guess("multiple_choice", "there are options, and the answers are letters or numbers of them"), None
    if why := _sets(answers):
        return Guess("labels", why), None
    if answers.repeats:
        return Guess("label", f"{answers.distinct} different answers in {len(answers.texts)} rows"), None
    if answers.numbers > 0.9:
        return Guess("number", f"{answers.numbers:.0%} of the answers are numbers"), None
    return Guess("free_text", f"{answers.distinct} different answers in {len(answers.texts)} rows"), None


def _sets(answers: ColumnFacts) -> str | None:
    """Why the answers are sets of labels; `None` if they are not: of few parts, that stand alone and with others."""
    lists = [[part.strip() for part in _BETWEEN.split(answer) if part.strip()] for answer in answers.texts]
    parts = Counter(part for of_row in lists for part in set(of_row) if part.casefold() not in NO_LABELS)
    several = sum(len(of_row) > 1 for of_row in lists)
    is_few = 1 < len(parts) <= FEW and len(parts) < answers.distinct and min(parts.values()) > 1
    if not is_few or several < len(lists) / 5:
        return None
    return f"{several} of {len(lists)} answers list several of {len(parts)} labels"


def _labels(answers: ColumnFacts) -> Guess:
    counts = Counter(answers.texts)
    return Guess(dict(counts.most_common()), f"those of {len(answers.texts)} rows")


def _id(columns: Mapping[str, ColumnFacts]) -> Guess | None:
    for name, column in columns.items():
        is_named = name.casefold() in ("id", "uid", "uuid", "key", "index") or name.casefold().endswith("_id")
        if is_named and column.distinct == column.rows:
            return Guess(name, "its name, and no text stands in it twice")
    return None


def _category(columns: Mapping[str, ColumnFacts]) -> Guess | None:
    for name, column in columns.items():
        if name.casefold() in CATEGORY_NAMES and column.repeats and not column.blanks:
            return Guess(name, f"its name, and {column.distinct} different texts")
    return None


def _numbers(counts: set[int]) -> str:
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
