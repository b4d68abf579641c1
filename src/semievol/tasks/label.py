"""Questions that are answered with one label of a closed set.

How a response is read, in this order: the last "Answer: X" or "the label is X" with a label in it; the whole response;
its first line; the one label that occurs anywhere. A label *occurs* as whole words, the longest first ("money-fx" is
not "money"), and not right after "not", "non" or "n't". Where several occur, none is the answer. Case, spaces,
hyphens, quotes and the marks around a label do not matter.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from unicodedata import normalize as unicode_form

from semievol.config import TaskConfig
from semievol.errors import ConfigError, DataError
from semievol.records import Example
from semievol.tasks.base import BaseTask, shortened

_MARKS = " \t\"'`“”‘’«»*.,:;!?()[]{}<>"
_JOINT = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


class Label(BaseTask):
    """A label by the name that the model sees; the file's spelling is accepted too."""

    heading = "Text"
    claim_words = ("answer", "label", "category", "class", "classification", "topic", "sentiment")

    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        super().__init__(config, labeled)
        given = config.labels or self._found(labeled)
        self._names = {key(one): config.label_names.get(one, one) for one in given}
        self._labels = tuple(dict.fromkeys(self._names.values()))
        distinct = {key(one) for one in self._labels}
        if len(distinct) < len(self._labels):
            raise ConfigError(f"task.labels: two of {', '.join(self._labels)} differ only in case or punctuation")
        self._names |= {key(one): one for one in self._labels if key(one) not in self._names}
        self._add_renamed()
        if len(self._labels) < 2:
            found = f"only {shortened(self._labels[0])}" if self._labels else "none"
            raise DataError(f"a label task needs at least 2 labels and there is {found}; set task.labels")
        self._occurrence = self._occurrence_pattern()

    @property
    def default_instruction(self) -> str:  # type: ignore[override]
        """Asks for one of the labels, by name."""
        comma = "; " if any("," in one for one in self._labels) else ", "
        return f"Classify the text. Answer with one of these labels only: {comma.join(self._labels)}."

    def read(self, text: str, example: Example) -> str | None:
        """The label that the text is."""
        return self._names.get(key(text))

    def find(self, text: str, example: Example) -> str | None:
        """The label in a response, in the order that the module describes."""
        for claim in self.claims(text):
            line = claim.splitlines()[0]
            if (label := self.read(line, example) or self._only(line)) is not None:
                return label
        first_line = next(iter(text.strip().splitlines()), "")
        return self.read(text, example) or self.read(first_line, example) or self._only(text)

    def gold(self, text: str, example: Example) -> str:
        """The label in the answer column, where "Answer:" may stand before it."""
        label = self.read(text, example) or self.read(next(self.claims(text), ""), example)
        if label is not None:
            return label
        near = difflib.get_close_matches(key(text), self._names, n=1)
        hint = f"; did you mean {self._names[near[0]]!r}?" if near else ""
        raise DataError(f"answer {shortened(text)} is not one of the labels {', '.join(self._labels)}{hint}")

    def answers(self) -> tuple[str, ...]:
        """The labels by the names that the model sees, in the config's order, else sorted."""
        return self._labels

    def _found(self, labeled: Iterable[Example]) -> tuple[str, ...]:
        """The labels of the labeled rows, in the file's spelling: of `Oil` and `oil`, the more frequent."""
        marked = ((self._marked(one.answer) or one.answer).strip() for one in labeled if one.answer)
        counts = Counter(one for one in marked if one)
        spelling = {key(one): one for one, _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))}
        return tuple(sorted(spelling.values()))

    def _add_renamed(self) -> None:
        """Adds `task.label_names`: either side of a renaming may be what `task.labels` lists.

        Raises:
            ConfigError: a renaming has nothing to do with the labels, or leads to a label that is renamed itself.
        """
        for spelling, name in self.config.label_names.items():
            if key(name) not in self._names:
                if self.config.labels:
                    near = difflib.get_close_matches(spelling, self.config.labels, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ConfigError(f"task.label_names: {spelling!r} is not one of task.labels{hint}")
                # A rare label may be missing among the labeled rows and still be known from its renaming.
                self._labels = (*self._labels, name)
                self._names[key(name)] = name
            if self._names[key(name)] != name:
                raise ConfigError(f"task.label_names: {spelling!r} becomes {name!r}, which is renamed itself")
            self._names[key(spelling)] = name

    def _occurrence_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._names, key=len, reverse=True)
        any_label = "|".join(map(re.escape, longest_first))
        return re.compile(rf"(?<!\w)(?:(?P<label>{any_label})|(?:not|non|\w+n['’]t) (?:an? )?(?:{any_label}))(?!\w)")

    def _only(self, text: str) -> str | None:
        """The label that occurs in the text, where exactly one does."""
        found = {self._names[match["label"]] for match in self._occurrence.finditer(key(text)) if match["label"]}
        return found.pop() if len(found) == 1 else None


def key(text: str) -> str:
    """The text by which labels are compared: lower case, no marks around it, one space for hyphens and spaces."""
    lowered = unicode_form("NFKC", text).casefold().strip()
    return _JOINT.sub(" ", lowered.strip(_MARKS) or lowered)
