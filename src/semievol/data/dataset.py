"""The rows of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from semievol.records import Example
from semievol.tasks import Task


@dataclass(frozen=True, slots=True)
class Dataset:
    """All rows of a run, each split in the order of its source."""

    labeled: tuple[Example, ...]
    """With canonical answers and training texts."""
    unlabeled: Sequence[Example]
    """Without answers, whatever the source holds; on disk where `load` read it, as there can be millions."""
    test: Sequence[Example]
    """With canonical answers; on disk too."""
    task: Task
    as_read: tuple[Example, ...] = ()
    """The labeled rows with their answers as the source has them: what the task was made from."""
    layout: str = ""
    """What `data.layout` came to."""
