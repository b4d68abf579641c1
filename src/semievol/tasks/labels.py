"""Questions that are answered with a set of labels: all that apply, or none.

An answer is its labels in the task's order with commas between (semicolons if a label holds a comma), and `none` if it
is empty. A cell holds a list, or labels with semicolons, vertical bars, line breaks or commas between. In a response a
line of labels and separators is read as such; elsewhere the labels count that occur and are not denied.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from semievol.config import TaskConfig
from semievol.data.literals import literal
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks.base import shortened
from semievol.tasks.label import Label
from semievol.tasks.spelling import folded, tidy

_MARKS, _COMMAS = re.compile(r"[;|\n]"), re.compile(",")
"""What labels hardly hold; and what stands between labels that hold none."""
_WORDS = re.compile(r",|\s(?:and|&)\s")
"""What stands between labels in a response."""
_BEFORE = re.compile(r"(?:[-*•]|\d{1,3}[.)]|and|&)\s+")
"""What may stand before a label in a list."""
NO_LABELS = frozenset({"none", "no label", "no labels", "nothing", "none of them", "none of these", "[]", "{}", "-"})


class Labels(Label):
    """Any number of labels of a closed set."""

    claim_words: tuple[str, ...] = (*Label.claim_words, "answers", "labels", "categories", "classes", "topics")

    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        super().__init__(config, labeled)
        self._between = "; " if any("," in label for label in self._labels) else ", "
        self._none = "none" if self._spellings.said("none") is None else "no label"

    @property
    def default_instruction(self) -> str:  # type: ignore[override]
        """Asks for all that apply, by name."""
        return (
            f"Which of these labels apply to the text? Answer with all that do, separated by "
            f'"{self._between.strip()}", or with "{self._none}": {self._between.join(self._labels)}.'
        )

    def read(self, text: str, example: Example) -> str | None:
        """The labels that the text lists, if it lists nothing else."""
        if folded(text).strip(" .") in NO_LABELS and self._spellings.said(text) is None:
            return self._none
        for parts in _readings(text):
            labels = [self._spellings.said(part) for part in parts]
            if parts and None not in labels:
                return self._joined(label for label in labels if label is not None)
        return None

    def find(self, text: str, example: Example) -> str | None:
        """The labels in a response: of its last claim, of the whole, of its first line, or those that occur in it."""
        claims = [claim.splitlines()[0] for claim in self.claims(text)]
        first_line = next(iter(text.strip().splitlines()), "")
        for part in (*claims, text, first_line):
            if (answer := self.read(part, example)) is not None:
                return answer
        for part in (*claims, first_line, text):
            if labels := self._occurrences.every(part):
                return self._joined(labels)
        return None

    def find_whole(self, text: str, example: Example) -> str | None:
        """None: more labels might have followed."""
        return None

    def gold(self, text: str, example: Example) -> str:
        """The labels in the answer column.

        Raises:
            DataError: something that stands there is no label.
        """
        answer = self.read(text, example)
        if answer is None:
            foreign = [part for part in _readings(text)[0] if self._spellings.said(part) is None]
            known = ", ".join(self._labels)
            raise DataError(f"answer {shortened(text)}: {shortened(foreign[0])} is not one of the labels {known}")
        return answer

    def answers(self) -> None:  # type: ignore[override]
        """No closed set: sets of labels are too many to be listed."""

    def labels(self) -> tuple[str, ...]:
        """The labels by the names that the model sees, in the config's order, else sorted."""
        return self._labels

    def labels_of(self, answer: str | None) -> frozenset[str]:
        """The labels of a canonical answer; none of no answer."""
        if answer is None or answer == self._none:
            return frozenset()
        return frozenset(answer.split(self._between))

    def notes(self, labeled: Sequence[Example]) -> tuple[str, ...]:
        """How often each label stands in the labeled rows, and how many a row has."""
        sets = [self.labels_of(self.normalize(row).answer) for row in labeled if row.answer]
        counts = Counter(label for labels in sets for label in labels)
        counted = ", ".join(f"{label} {counts[label]}" for label in self._labels)
        return (f"{sum(map(len, sets)) / max(len(sets), 1):.1f} labels a row; {counted}",)

    def _joined(self, labels: Iterable[str]) -> str:
        chosen = set(labels)
        return self._between.join(label for label in self._labels if label in chosen) or self._none

    def _found(self, labeled: Iterable[Example]) -> tuple[str, ...]:
        """Every part of an answer, of spellings that look the same the most frequent."""
        parts = (part for row in labeled if row.answer for part in _readings(row.answer)[0])
        rows = [
            Example(id="", prompt="", answer=part) for part in parts if folded(part) not in NO_LABELS and tidy(part)
        ]
        return super()._found(rows)


def _readings(text: str) -> list[list[str]]:
    """The parts of a list, in the ways in which it may be read; the first is that of a file."""
    stripped = text.strip()
    if stripped.startswith(("[", "(", "{")):
        try:
            value = literal(stripped)
        except ValueError:
            value = None
        if isinstance(value, list | tuple | set):
            return [[str(part) for part in value]]
    marks, commas, words = (
        [_bare(part.strip()) for part in separator.split(stripped) if part.strip()]
        for separator in (_MARKS, _COMMAS, _WORDS)
    )
    return [marks if len(marks) > 1 else commas, words, [stripped]]


def _bare(part: str) -> str:
    """A part without what may stand before it."""
    before = _BEFORE.match(part)
    return part if before is None else part[before.end() :]
