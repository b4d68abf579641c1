"""Questions that are answered with one label of a closed set.

The labels of the file are what they are: `A*` and `A`, `US` and `us`, `m²` and `m2` are two. Only what looks the same
to everybody is one (an invisible character, a composed accent, `1` and `1.0`). Case, spaces, hyphens and the marks
around a label do not matter in a response, as long as one label alone can be meant; else its exact spelling decides.

How a response is read, in this order: the last "Answer: X" or "the label is X" with a label in it; the whole response;
its first line; the label that it begins with ("Yes, because ..."); the one label that occurs anywhere. A label *occurs*
as whole words, the longest first ("money-fx" is not "money"), and not if it is negated ("not positive", "no idea").
If several occur, none is the answer.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from semievol.config import TaskConfig
from semievol.errors import ConfigError, DataError
from semievol.records import Example
from semievol.tasks.base import BaseTask, shortened
from semievol.tasks.occurrence import Occurrences, parts_of_lists
from semievol.tasks.spelling import Spellings, folded, one_number, tidy, unescaped


class Label(BaseTask):
    """A label by the name that the model sees; the file's spelling is accepted too."""

    heading = "Text"
    claim_words: tuple[str, ...] = ("answer", "label", "category", "class", "classification", "topic", "sentiment")

    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        super().__init__(config, labeled)
        labels = config.labels or self._found(labeled)
        renamed = {one_number(spelling): name for spelling, name in config.label_names.items()}
        names = {label: renamed.get(one_number(label), tidy(label)) for label in labels}
        self._labels = tuple(dict.fromkeys(names.values()))
        if len({one_number(label) for label in labels}) < len(labels):
            raise ConfigError(f"task.labels: two of {', '.join(map(repr, labels))} look the same")
        spellings = {one_number(label): name for label, name in names.items()}
        for name in self._labels:
            spellings.setdefault(one_number(name), name)
        self._add_renamed(spellings)
        if len(self._labels) < 2:
            examples_named = f"only {shortened(self._labels[0])}" if self._labels else "none"
            raise DataError(f"a label task needs at least 2 labels and there is {examples_named}; set task.labels")
        self._spellings = Spellings(spellings.items())
        self._occurrences = Occurrences(self._spellings)
        self._descriptions = self._described()
        self._read_as: Counter[tuple[str, str]] = Counter()

    @property
    def default_instruction(self) -> str:  # type: ignore[override]
        """Asks for one of the labels, by name."""
        comma = "; " if any("," in label for label in self._labels) else ", "
        return f"Classify the text. Answer with one of these labels only: {comma.join(self._labels)}."

    @cached_property
    def instruction(self) -> str:
        """What the model is told first, and below it what labels mean."""
        meanings = [f"{label}: {self._descriptions[label]}" for label in self._labels if label in self._descriptions]
        return "\n".join([super().instruction, *meanings])

    def read(self, text: str, example: Example) -> str | None:
        """The label that the text is."""
        return self._spellings.said(text)

    def find(self, text: str, example: Example) -> str | None:
        """The label in a response, in the order that the module describes."""
        for claim in self.claims(text):
            line = claim.splitlines()[0]
            if (label := self.read(line, example) or self._occurrences.only(line)) is not None:
                return label
        text = unescaped(text)
        first_line = next(iter(text.strip().splitlines()), "")
        return (
            self.read(text, example)
            or self.read(first_line, example)
            or self._occurrences.leading(first_line)
            or self._occurrences.only(text)
        )

    def find_whole(self, text: str, example: Example) -> str | None:
        """The label that the response is or claims, if no other begins with what stands at its end."""
        first_line = next(iter(text.strip().splitlines()), "")
        claim = next(self.claims(text), "").splitlines()
        for part in (*claim[:1], text, first_line):
            at_end = text.rstrip().endswith(part.rstrip())
            if (label := self.read(part, example)) and not (at_end and self._spellings.may_go_on(part)):
                return label
        return self._occurrences.leading(first_line)

    def gold(self, text: str, example: Example) -> str:
        """The label in the answer column, where "Answer:" may stand before it."""
        label = self.read(text, example) or self.read(next(self.claims(text), ""), example)
        if label is None:
            near = difflib.get_close_matches(folded(text), self._spellings.by_fold(), n=1)
            hint = f"; did you mean {min(self._spellings.by_fold()[near[0]])!r}?" if near else ""
            raise DataError(f"answer {shortened(text)} is not one of the labels {', '.join(self._labels)}{hint}")
        if len(self._read_as) < _REMEMBERED:
            self._read_as[text.strip(), label] += 1
        return label

    def answers(self) -> tuple[str, ...]:
        """The labels by the names that the model sees, in the config's order, else sorted."""
        return self._labels

    def notes(self, labeled: Sequence[Example]) -> tuple[str, ...]:
        """Which spellings of the answer columns are one label, which are not although they are alike, and lists."""
        lines = []
        spelled: dict[str, list[tuple[str, int]]] = {}
        for (spelling, label), rows in self._read_as.items():
            if self.config.label_names.get(spelling, label) == label:
                spelled.setdefault(label, []).append((spelling, rows))
        names = {one_number(label) for label in self.config.label_names}
        for label, spellings in spelled.items():
            foreign = [entry for entry in spellings if one_number(entry[0]) not in names]
            if len(foreign) > 1 or (foreign and foreign[0][0] != label):
                lines.append(f"{_counted(foreign)} in the answer columns are the one label {label!r}")
        found_of: Counter[str] = Counter()
        for (_, label), count in self._read_as.items():
            found_of[label] += count
        for fold, labels in self._spellings.by_fold().items():
            alike = {label for label in labels if folded(label) == fold}  # not what task.label_names has set apart
            if len(alike) > 1:
                several = _counted([(label, found_of[label]) for label in sorted(alike)])
                lines.append(
                    f"{several} are {len(alike)} labels, which differ in case or marks only; if they are one, rename "
                    "all but one in task.label_names"
                )
        if lists := parts_of_lists(self._labels):
            lines.append(
                f"the answers {', '.join(map(repr, lists[:3]))}{', ...' if len(lists) > 3 else ''} look like several "
                "labels in one cell; each such list is a label of its own here, and task.kind: labels takes them apart"
            )
        return tuple(lines)

    def _found(self, labeled: Iterable[Example]) -> tuple[str, ...]:
        """The labels of the labeled rows: of spellings that look the same, the most frequent."""
        readings = ((self._marked(example.answer) or example.answer).strip() for example in labeled if example.answer)
        counts = Counter(reading for reading in readings if tidy(reading))
        spelling = {one_number(reading): tidy(reading) for reading, _ in sorted(counts.items(), key=_rank)}
        return tuple(sorted(spelling.values()))

    def _described(self) -> dict[str, str]:
        """Label -> its meaning in a line.

        Raises:
            ConfigError: a description is of no label.
        """
        meanings = {}
        for spelling, meaning in self.config.label_descriptions.items():
            label = self._spellings.said(spelling)
            if label is None:
                near = difflib.get_close_matches(spelling, self._labels, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; they are {', '.join(self._labels)}"
                raise ConfigError(f"task.label_descriptions: {spelling!r} is not one of the labels{hint}")
            meanings[label] = " ".join(meaning.split())
        return meanings

    def _add_renamed(self, spellings: dict[str, str]) -> None:
        """Adds `task.label_names`: either side of a renaming may be what `task.labels` lists.

        Raises:
            ConfigError: a renaming has nothing to do with the labels, or leads to a label that is renamed itself.
        """
        for spelling, name in self.config.label_names.items():
            key = one_number(name)
            if key not in spellings:
                if self.config.labels:
                    near = difflib.get_close_matches(spelling, self.config.labels, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ConfigError(f"task.label_names: {spelling!r} is not one of task.labels{hint}")
                # A rare label may be missing among the labeled rows and still be known from its renaming.
                self._labels = (*self._labels, name)
                spellings[key] = name
            if spellings[key] != name:
                raise ConfigError(f"task.label_names: {spelling!r} becomes {name!r}, which is renamed itself")
            spellings[one_number(spelling)] = name


def _rank(pair: tuple[str, int]) -> tuple[int, int, str]:
    """The more frequent spelling comes later, of equals the shorter."""
    spelling, rows = pair
    return rows, -len(spelling), spelling


_REMEMBERED = 10_000
"""Spellings of the answer columns that are counted for the notes."""


def _counted(spellings: Iterable[tuple[str, int]]) -> str:
    """`'Oil' (3 rows) and 'oil' (1 row)`, invisible characters shown."""
    lines = [
        f"{ascii(text) if tidy(text) != text else repr(text)} ({rows} row{'s' * (rows != 1)})"
        for text, rows in spellings
    ]
    return " and ".join(filter(None, [", ".join(lines[:-1]), lines[-1]]))
