"""A prompt made of a row's columns: one of them, several in turn, or a text with their names in braces."""

import re
from collections.abc import Iterator
from functools import lru_cache

from semievol.data.cells import text_in
from semievol.data.table import Cells
from semievol.errors import ConfigError

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
_BRACES = {"{{": "{", "}}": "}"}


@lru_cache(maxsize=8)  # asked for every row
def prompt_columns(configured: str | tuple[str, ...]) -> tuple[str, ...]:
    """The columns that `data.columns.prompt` names, each once.

    Raises:
        ConfigError: a brace is open, or the list is empty.
    """
    if not configured:
        raise ConfigError("data.columns.prompt: no column is named")
    if isinstance(configured, tuple):
        return tuple(dict.fromkeys(configured))
    columns = [match[1] for match in _pieces(configured) if match[1]] if is_template(configured) else [configured]
    return tuple(dict.fromkeys(columns))


def is_template(configured: str | tuple[str, ...]) -> bool:
    """Whether it is a text with names of columns in braces, as in `{subject}: {body}`."""
    return isinstance(configured, str) and re.search(r"\{[^{}]+\}", configured) is not None


def filled(configured: str | tuple[str, ...], cells: Cells) -> str:
    """The prompt of a row for which `data.columns.prompt` names several columns.

    Of a list, those that are not empty stand one below another with an empty line between; a text is filled as it is.

    Raises:
        DataError: a cell holds no text.
    """
    texts = {column: text_in(column, cells.get(column)) for column in prompt_columns(configured)}
    if isinstance(configured, tuple):
        return "\n\n".join(texts[column].strip() for column in configured if texts[column].strip())
    if not any(cell.strip() for cell in texts.values()):
        return ""  # nothing is asked
    return _PIECE.sub(lambda match: texts[match[1]] if match[1] else _BRACES[match[0]], configured)


def _pieces(template: str) -> Iterator[re.Match[str]]:
    for match in _PIECE.finditer(template):
        if match[0] in "{}":
            raise ConfigError(
                f"data.columns.prompt: the brace at character {match.start() + 1} of {template!r} has no other; write "
                "a brace that is text twice"
            )
        yield match
