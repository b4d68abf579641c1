"""What a person reads on a terminal or in a log: text of the data is shown as text, whatever stands in it."""

import re
from typing import Any

from rich.console import Console
from rich.text import Text

WIDTH_ELSEWHERE = 120
"""Columns if there is no terminal to fit into, such as in a log file."""
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters but newline and tab, those that turn the direction of text, those without width, surrogates."""


def visible(text: str) -> str:
    r"""The text with characters that would act instead of being seen written out, such as `\x1b` and `\u200b`."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class TextConsole(Console):
    """A console that takes no text for markup or emoji codes, and that no text can steer."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = WIDTH_ELSEWHERE

    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        """The text as rich renders it, visible in whole."""
        return super().render_str(visible(text), *args, **options)
