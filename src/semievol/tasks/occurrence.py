"""Where a label occurs in a text, and where it is only denied there."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, islice, takewhile

from semievol.tasks.negation import denied
from semievol.tasks.spelling import Spellings, folded

_NUMERIC = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Scripts that put no spaces between words."""
_HANGUL = re.compile(r"[가-힣]")
_PARTICLES = "(?:적)?(?:입니다|이에요|예요|이라고|이다|이며|이고|으로|이|가|은|는|을|를|로|의|적)?"
"""What Korean puts behind a word without a space."""
_IS_A_LETTER = r"(?!\w|\s(?!(?:is|because|since|as|and|or|seems|would|applies|fits|here)\b)[^\W\d_])"
"""After a label of one letter: `A good one` is no `A`."""
_GOES_ON = re.compile(
    r"\s*(?:[.;!?)。！；\n]|\Z|[,，]\s*(?:because|since|as|for|but|it|this|that|there|the|he|she|they|i|we|given|due|weil|da"
    r"|denn|parce|car|porque|因为|由于)\b|\s[-–—]\s|\s(?:because|since)\b"
    r"|\s(?:it|this|that|there|he|she|they|i|we|you)(?:['’]s|\s(?:is|was|were|are|am|do|does|did|has|have|had|can|could"
    r"|will|would|should|seems?|appears?|cannot|\w{1,8}n['’]t))(?!\w))"
)
_NEXT = re.compile(r"[\s,，;]*(?:(?:and|or)\s)?")
_NO_AND_MORE = re.compile(r"\s*(?:[,.;:!?)\"'。，]|\Z|\n|\s[-–—])")
_LISTED = re.compile(r"\w\s*[,;|]\s*\w")
_SEPARATOR = re.compile(r"\s*[,;|/]\s*|\s+(?:and|&)\s+")


class Occurrences:
    """Looks for the labels of a task in texts."""

    def __init__(self, spellings: Spellings) -> None:
        self._labels = spellings.by_fold()
        numbers = [label for label in self._labels if _NUMERIC.fullmatch(label)]
        self._most = max(numbers, key=lambda label: float(label.replace(",", ".")), default=None)
        self._signs = "-" if not any(label.startswith("+") for label in self._labels) else "-+"
        kinds: dict[tuple[str, str], list[str]] = {}
        for label in sorted(filter(None, self._labels)):
            kinds.setdefault(self._bounds(label), []).append(label)
        shortest_last = sorted(kinds.items(), key=lambda kind: -max(map(len, kind[1])))
        any_of = [f"{left}(?:{prefixed(labels)}){right}" for (left, right), labels in shortest_last]
        self._any = re.compile("|".join(any_of) or r"(?!)")

    def only(self, text: str) -> str | None:
        """The label that occurs in the text, if exactly one does."""
        return self._one_of(folded(text), text)

    def leading(self, line: str) -> str | None:
        """The label that the line begins with, if the rest goes on about it: `Yes, because there is no doubt`."""
        plain = folded(line).lstrip(" \t*_\"'`(")
        match = self._any.match(plain)
        if match is None or not _GOES_ON.match(plain, match.end()) or not plain[match.end() :].strip(" .!*_\"'`)"):
            return None
        if self._any.match(plain, _NEXT.match(plain, match.end()).end()):  # type: ignore[union-attr] # it may be empty
            return None  # a list: "computers, for sale, politics"
        return self._one_of(match[0], line[: len(line) - len(plain) + match.end()])

    def every(self, text: str) -> list[str]:
        """The labels that occur in the text, each once, in the order in which they do; those that are denied do not."""
        plain = folded(text)
        labels = (self._meant(spelling, text) for spelling in self._occurring(plain))
        return [label for label in dict.fromkeys(labels) if label is not None]

    def _one_of(self, plain: str, text: str) -> str | None:
        occurring = list(islice(self._occurring(plain), 2))
        return self._meant(occurring[0], text) if len(occurring) == 1 else None

    def _occurring(self, plain: str) -> Iterator[str]:
        """Each spelling that occurs and is not denied, once."""
        occurring: set[str] = set()
        for match in self._any.finditer(plain):
            spelling = self._spelling(match[0])
            if spelling is not None and spelling not in occurring and not self._denied(plain, match, spelling):
                occurring.add(spelling)
                yield spelling

    def _meant(self, spelling: str, text: str) -> str | None:
        """The label of a spelling; of several that are alike, the one that stands in the text exactly."""
        labels = self._labels[spelling]
        if len(labels) == 1:
            return next(iter(labels))
        exact = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?![\w*²³+#])", text)]
        return exact[0] if len(exact) == 1 else None

    def _bounds(self, label: str) -> tuple[str, str]:
        """Patterns of what stands before a label and after it as a whole word; `4/5` and `4 out of 5` of a number."""
        if _NUMERIC.fullmatch(label):
            most = re.escape(self._most or "")
            rated = rf"\s?\(?(?:/|out of|of|von|sur|de|из)\s?{most}\)?(?!\w|[.,/]\d)"
            alone = r"(?!\w|[.,/%]\d|\s?[-+]\s?\d|\s?/|%|\s?\(?(?:out )?of\s\d)"
            signed = "" if label[0] in "-+" else rf"(?<![{self._signs}])(?<![{self._signs}]\s)(?<!\d\+)(?<!\d\s\+)"
            return rf"(?<![\w/<>≤≥])(?<![<>!]=)(?<!\d[.,]){signed}(?<!\d\s-)", f"(?:{rated}|{alone})"
        if len(label) == 1 and label.isalpha() and not _UNSPACED.match(label):
            return r"(?<!\w)", _IS_A_LETTER
        left = "" if _UNSPACED.match(label) else r"(?<!\w)"
        right = "" if _UNSPACED.match(label[-1]) else r"(?!\w)"
        return left, _PARTICLES + right if _HANGUL.match(label[-1]) else right

    def _spelling(self, text: str) -> str | None:
        """The label that was matched, without what may follow it: the 4 of `4/5`, the 긍정 of `긍정입니다`."""
        if text in self._labels:
            return text
        if match := _NUMERIC.match(text):
            return match[0] if match[0] in self._labels else None
        return next((text[:end] for end in range(len(text) - 1, 0, -1) if text[:end] in self._labels), None)

    def _denied(self, plain: str, match: re.Match[str], spelling: str) -> bool:
        end = match.start() + len(spelling)
        if denied(plain, match.start(), end):
            return True
        if spelling != "no":
            return False
        # A word of its own, and not that of "no idea".
        after_first = not plain[: match.start()].strip(" *_\"'`(") and _GOES_ON.match(plain, end)
        return not after_first and not _NO_AND_MORE.match(plain, end)


def prefixed(words: Sequence[str], depth: int = 0) -> str:
    """A pattern of any of the words, the longest first, that reads what they begin with in common once.

    So thousands of labels are looked for as fast as a few.

    Args:
        words: sorted, each once.
    """
    if depth > _DEEPEST:
        return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    parts = []
    for _, group in groupby(words, key=lambda word: word[:1]):
        members = list(group)
        pairs = zip(members[0], members[-1], strict=False)  # what is sorted between them begins alike too
        common = members[0][: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]
        rests = [word[len(common) :] for word in members]
        longer = [rest for rest in rests if rest]
        continuation = f"(?:{prefixed(longer, depth + 1)}){'?' * (len(longer) < len(rests))}" if longer else ""
        parts.append(re.escape(common) + continuation)
    return "|".join(parts)


_DEEPEST = 40
"""Nested groups in a pattern of `prefixed`: `re` goes down into them by recursion."""


def parts_of_lists(labels: Sequence[str]) -> list[str]:
    """The labels that look like lists: of parts with commas between, or of labels or parts of others however joined."""
    parts = {label: [folded(part) for part in _SEPARATOR.split(label) if part] for label in labels}
    counts: dict[str, int] = {}
    for label_parts in parts.values():
        for part in set(label_parts):
            counts[part] = counts.get(part, 0) + 1
    listed = {
        label
        for label, label_parts in parts.items()
        if len(label_parts) > 1 and any(counts[part] > 1 for part in label_parts)
    }
    return [label for label in labels if label in listed or _LISTED.search(label)]
