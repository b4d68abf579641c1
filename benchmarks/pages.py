"""Parts of pages that are made from kept results; each lies between two marks in its page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def with_part(page: str, name: str, made: str) -> str:
    """The page with this part replaced."""
    begin, end = (f"<!-- {name}: {where} -->" for where in ("begin", "end"))
    before, rest = page.split(begin)
    return f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}"


def write_part(path: Path, name: str, made: str) -> None:
    """Replaces a part of the page at `path`."""
    path.write_text(with_part(path.read_text(encoding="utf-8"), name, made), encoding="utf-8")


def measured_on(machine: Mapping[str, Any]) -> str:
    """Where kept figures were measured, as a sentence."""
    return f"Measured on {machine['cores']} cores ({machine['processor']}), Python {machine['python']}."
