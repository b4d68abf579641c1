"""The rows of a run."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields

from semievol.records import Example
from semievol.tasks import Task

_FIELDS = tuple(field.name for field in fields(Example))


@dataclass(frozen=True, slots=True)
class Dataset:
    """All rows of a run, each split in the order of its source."""

    labeled: tuple[Example, ...]
    """With canonical answers and training texts."""
    unlabeled: tuple[Example, ...]
    """Without answers, whatever the source holds."""
    test: tuple[Example, ...]
    """With canonical answers."""
    task: Task


def digest(examples: Iterable[Example]) -> str:
    """The SHA-256 of the examples' content, in their order, in hexadecimal."""
    total = hashlib.sha256()
    for example in examples:
        content = {name: getattr(example, name) for name in _FIELDS}
        total.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    return total.hexdigest()
