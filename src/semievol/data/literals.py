"""What JSON, Python or NumPy wrote into a text -> the value."""

import ast
import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*(?:'|\\?\Z)|"(?:[^"\\]|\\.)*(?:"|\\?\Z))"""
    r"|(?P<array>\barray\()|(?P<end>,\s*dtype=\w+\s*\))|(?P<gap>\}\s+(?=\{))|(?P<nan>\bnan\b)",
    re.DOTALL,
)
"""What NumPy prints otherwise than Python, and the texts, in which nothing is replaced."""
_JOINED = re.compile(r"\s*['\"]")


def literal(cell: str) -> Any:
    """The value; nothing in the text is run.

    Raises:
        ValueError: it is neither JSON nor a literal of Python, with NumPy's arrays in it or without.
    """
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_TOKEN.sub(_in_python, cell.strip()))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("neither JSON nor a literal of Python") from error


def _in_python(token: re.Match[str]) -> str:
    if token["text"] and _JOINED.match(token.string, token.end()):
        raise ValueError("a list without commas, whose texts Python would join")
    return {"text": token[0], "array": "(", "end": ")", "gap": "},", "nan": "None"}[str(token.lastgroup)]
