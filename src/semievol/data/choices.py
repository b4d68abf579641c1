"""The options of a multiple-choice row, and the answer that names one of them."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Literal

from semievol.data.cells import options, shown, text
from semievol.data.literals import literal
from semievol.data.table import Cells
from semievol.errors import DataError

_TEXTS, _LABELS = ("text", "texts", "choices"), ("label", "labels", "key")
"""Keys of the hub's `{text: [...], label: [...]}`."""
_NUMBER = re.compile(r"[(\s]*(\d{1,4})(?:\.0+)?[).\s]*")


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of one row."""

    texts: tuple[str, ...]
    names: tuple[str, ...] = ()
    """What an answer may call them, if that is neither a letter nor a number counted from 1."""


@lru_cache(maxsize=32)  # asked for every row
def choice_columns(configured: str | tuple[str, ...] | None, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that hold options: those that are named, or `A`, `B`, ... if the one that is named is missing.

    A name that is like that of a column is taken for a slip.
    """
    if configured is None:
        return ()
    if isinstance(configured, tuple):
        return configured
    if configured not in columns and not difflib.get_close_matches(configured, columns, n=1):
        for alphabet in (ascii_uppercase, ascii_lowercase):
            letters = tuple(takewhile(lambda letter: letter in columns, alphabet))
            if len(letters) > 1:
                return letters
    return (configured,)


def choices(columns: Sequence[str], cells: Cells) -> Choices:
    """The options of a row: in one cell, or in a column each; missing ones at the end are not there.

    Raises:
        DataError: they cannot be read, there are none, or one between others is empty.
    """
    if not columns:
        return Choices(())
    if len(columns) == 1:
        return _in_cell(cells.get(columns[0]))
    texts = _filled({column: text(cells.get(column)).strip() or None for column in columns})
    return Choices(texts, () if all(len(column) == 1 for column in columns) else tuple(columns))


def lettered_answer(answer: str, choices: Choices, first: Literal[0, 1] | None) -> str:
    """The answer; as a letter, if it is the name of an option or, with `first` set, its number.

    Args:
        first: the number of the first option, `data.answer_index`.

    Raises:
        DataError: there is no option with the number.
    """
    number = _NUMBER.fullmatch(answer) if first is not None else None
    if number is not None and first is not None:
        at = int(number[1]) - first
        if not 0 <= at < min(len(choices.texts), len(ascii_uppercase)):
            raise DataError(
                f"answer {answer.strip()!r} is not one of the {len(choices.texts)} options, counted from {first} "
                "(data.answer_index)"
            )
        return ascii_uppercase[at]
    name = answer.strip()
    if name in choices.names[: len(ascii_uppercase)]:
        return ascii_uppercase[choices.names.index(name)]
    return answer


def _in_cell(value: Any) -> Choices:
    """The options of a list, of `{"A": ..., "B": ...}`, of `{text: [...], label: [...]}` or of a list of such pairs."""
    if isinstance(value, str) and value.lstrip().replace(" ", "")[:2] in _OBJECTS:
        try:
            value = literal(value)
        except ValueError as error:
            raise DataError(f"the options are {shown(value)}, which cannot be read; write JSON") from error
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        return _named([_under(item, _LABELS) for item in value], [_under(item, _TEXTS) for item in value])
    if not isinstance(value, Mapping):
        return Choices(options(value))
    texts, labels = _under(value, _TEXTS), _under(value, _LABELS)
    if isinstance(texts, list | tuple) and isinstance(labels, list | tuple):
        return _named(labels, options(texts))
    return _named(list(value), list(value.values()))


def _under(value: Mapping[Any, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if key in value), None)


def _named(labels: Sequence[Any], texts: Sequence[Any]) -> Choices:
    """The options in the order of their labels.

    Raises:
        DataError: the labels are neither letters from A nor numbers from 0 or 1, or not as many as the texts.
    """
    plain = [str(label).strip("() .").upper() for label in labels]
    for first, names in _SEQUENCES:
        if sorted(plain) == sorted(names[: len(plain)]) and len(plain) == len(texts):
            by_label = dict(zip(plain, texts, strict=True))
            named_texts = _filled({name: by_label[name] for name in names[: len(plain)]})
            return Choices(named_texts, names[: len(named_texts)] if first == 0 else ())
    raise DataError(
        f"the {len(texts)} options are called {', '.join(map(repr, labels)) or 'nothing'}; letters from A, or numbers "
        "from 0 or 1, are expected"
    )


def _filled(texts: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts up to the last that is there."""
    names = list(texts)
    while names and texts[names[-1]] is None:
        names.pop()
    if not names:
        raise DataError("the options are empty")
    for name in names:
        if texts[name] is None:
            raise DataError(f"option {name!r} is empty, and a later one is not")
    return options([texts[name] for name in names])


_OBJECTS = ("{'", '{"', "[{", "{0", "{1")
_SEQUENCES = (
    (None, tuple(ascii_uppercase)),
    (1, tuple(map(str, range(1, 27)))),
    (0, tuple(map(str, range(26)))),
)
"""The first number, if they are numbers, and the labels."""
