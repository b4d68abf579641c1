"""What stands in a cell -> a text or a list of options."""

import ast
import datetime
import json
import math
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

from semievol.errors import DataError

_ITEM = re.compile(r"""(?:\A|[\s,]+)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"()\[\]]+)""", re.DOTALL)
_BARE = re.compile(r"None|nan|True|False|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def text(value: Any) -> str:
    """The text in a cell; empty for a missing value. Days and times are ISO 8601's.

    Raises:
        DataError: it is a list or the like, or cannot be written as UTF-8.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, Decimal | UUID):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()  # a table's column of days is often one of times
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if not isinstance(value, str):
        raise DataError(f"is of type {type(value).__name__}, and text is expected")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair: "\ud83d"
            raise DataError(f"has half a character (a lone surrogate) at position {error.start + 1}") from error
    return value


def text_in(column: str, value: Any) -> str:
    """The text in a cell of a column, which an error names.

    Raises:
        DataError: as `text`.
    """
    try:
        return text(value)
    except DataError as error:
        raise DataError(f"{column!r} {error}") from error


def options(value: Any) -> tuple[str, ...]:
    r"""The options in a cell: a list, a JSON list, or a list as Python or NumPy print it.

    A missing option becomes `None`: pandas reads the option "None" of published files as NaN.

    Raises:
        DataError: it is no list, or an empty one.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # ValueError: an integer of thousands of digits, too
            value = _python_list(value)
    if not isinstance(value, list | tuple):
        raise DataError(f"the options are {shown(value)}, and a list is expected")
    if not value:
        raise DataError("the options are an empty list")
    try:
        return tuple(text(item) or ("None" if item != "" else "") for item in value)
    except DataError as error:
        raise DataError(f"one of the options {error}") from error


def _python_list(cell: str) -> list[str]:
    """The items of `['a', 'b']` or `['a' 'b']`.

    Scanned item by item: to Python, NumPy's list without commas is one string, the items joined.
    """
    printed = cell.strip()
    if printed.startswith("array(") and printed.endswith(")"):
        printed = printed.removeprefix("array(").removesuffix(")")
        listed, comma, last = printed.rpartition(",")
        printed = listed if comma and last.strip().startswith("dtype=") else printed.strip()
    if len(printed) < 2 or printed[0] + printed[-1] not in ("[]", "()"):
        raise DataError(f"the options are {shown(cell)}, and a list is expected")
    body, at, items = printed[1:-1].strip(" ,\n\r\t"), 0, []
    while at < len(body):
        item = _ITEM.match(body, at)
        if item is None or (item[1][0] not in "'\"" and not _BARE.fullmatch(item[1])):
            raise DataError(f"the options are {shown(cell)}, which cannot be read as a list; write a JSON list")
        items.append(_unquoted(item[1]))
        at = item.end()
    return items


def _unquoted(item: str) -> str:
    if item[0] not in "'\"":
        return "None" if item == "nan" else item
    try:
        return str(ast.literal_eval(item.replace("\n", "\\n").replace("\r", "\\r")))
    except (SyntaxError, ValueError) as error:
        raise DataError(f"the option {shown(item)} cannot be read") from error


def shown(value: Any) -> str:
    """The value for an error message, at most 60 characters of it."""
    printed = repr(value)
    return printed if len(printed) <= 60 else f"{printed[:57]}..."
