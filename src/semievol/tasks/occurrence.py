"""Where a label occurs in a text, and where it is only denied there."""

import re
from collections.abc import Sequence

from semievol.tasks.spelling import Spellings, folded

_NUMERIC = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Scripts that put no spaces between words."""
_NOT = (
    r"not|non|never|neither|nor|without|hardly|nicht|keine?[nmrs]?|pas|niet|geen|inte|ikke|nie|não|не|nem|değil|no es"
    r"|no está|no era|\w+n['’]t"
)
_FILLED = r"a|an|the|be|been|at all|really|very|clearly|so|ein\w{0,2}|un\w?|muy|sehr|très"
_NEGATED = re.compile(
    rf"(?:(?<!\w)(?:{_NOT})\s(?:(?:{_FILLED})\s)?|non-|un-|(?:不是|并非|不算|不太|不|非|没有|無|未)(?:很|太|那么)?)\Z"
)
_DENIED_AFTER = re.compile(r"(?:的?不对|では(?:な|あり)|じゃな|(?:이|가)?\s?아니| değil)")
_GOES_ON = re.compile(
    r"\s*(?:[.;!?)。！；\n]|\Z|[,，]\s*(?:because|since|as|for|but|it|this|that|there|the|he|she|they|i|we|given|due|weil|da"
    r"|denn|parce|car|porque|因为|由于)\b|\s[-–—]\s|\s(?:because|since)\b)"
)
_NO_AND_MORE = re.compile(r"\s*(?:[,.;:!?)\"'。，]|\Z|\n|\s[-–—])")
_LISTED = re.compile(r"\w\s*[,;|]\s*\w")
_SEPARATOR = re.compile(r"\s*[,;|/]\s*|\s+(?:and|&)\s+")


class Occurrences:
    """Looks for the labels of a task in texts."""

    def __init__(self, spellings: Spellings) -> None:
        self._labels = spellings.by_fold()
        numbers = [each for each in self._labels if _NUMERIC.fullmatch(each)]
        self._most = max(numbers, key=lambda each: float(each.replace(",", ".")), default=None)
        longest_first = sorted(filter(None, self._labels), key=len, reverse=True)
        self._any = re.compile("|".join(f"(?:{self._bounded(each)})" for each in longest_first) or r"(?!)")

    def only(self, text: str) -> str | None:
        """The label that occurs in the text, where exactly one does."""
        return self._one_of(folded(text), text)

    def leading(self, line: str) -> str | None:
        """The label that the line begins with, where the rest goes on about it: `Yes, because there is no doubt`."""
        plain = folded(line).lstrip(" \t*_\"'`(")
        match = self._any.match(plain)
        if match is None or not _GOES_ON.match(plain, match.end()) or not plain[match.end() :].strip(" .!*_\"'`)"):
            return None
        return self._one_of(match[0], line[: len(line) - len(plain) + match.end()])

    def _one_of(self, plain: str, text: str) -> str | None:
        found = set()
        for match in self._any.finditer(plain):
            spelling = match[0] if match[0] in self._labels else self._rated(match[0])
            if spelling is not None and not self._denied(plain, match, spelling):
                found.add(spelling)
        if len(found) != 1:
            return None
        labels = self._labels[found.pop()]
        if len(labels) == 1:
            return next(iter(labels))
        exact = [each for each in labels if re.search(rf"(?<!\w){re.escape(each)}(?![\w*²³+#])", text)]
        return exact[0] if len(exact) == 1 else None

    def _bounded(self, label: str) -> str:
        """The pattern of a label as a whole word, and of `4/5` and `4 out of 5` where it is a number."""
        escaped = re.escape(label)
        if _NUMERIC.fullmatch(label):
            most = re.escape(self._most or "")
            rated = rf"\s?(?:/|out of|of|von|sur|de|из)\s?{most}(?!\w|[.,/]\d)"
            alone = r"(?!\w|[.,/%]\d|\s?-\s?\d|\s?/|%|\s?(?:out )?of\s\d)"
            return rf"(?<![\w/<>≤≥=])(?<!\d[.,])(?<![-+])(?<![-+]\s){escaped}(?:{rated}|{alone})"
        left = "" if _UNSPACED.match(label) else r"(?<!\w)"
        right = "" if _UNSPACED.match(label[-1]) else r"(?!\w)"
        return f"{left}{escaped}{right}"

    def _rated(self, text: str) -> str | None:
        """The 4 of `4/5`."""
        match = _NUMERIC.match(text)
        return match[0] if match and match[0] in self._labels else None

    def _denied(self, plain: str, match: re.Match[str], spelling: str) -> bool:
        before = plain[max(0, match.start() - 40) : match.start()]
        if spelling == "no":  # a word of its own, and not that of "no idea"
            after_first = not plain[: match.start()].strip(" *_\"'`(") and _GOES_ON.match(plain, match.end())
            return not after_first and not _NO_AND_MORE.match(plain, match.end())
        return bool(_NEGATED.search(before) or _DENIED_AFTER.match(plain, match.end()))


def parts_of_lists(labels: Sequence[str]) -> list[str]:
    """The labels that look like lists: of parts with commas between, or of labels or parts of others however joined."""
    parts = {label: [folded(each) for each in _SEPARATOR.split(label) if each] for label in labels}
    seen: dict[str, int] = {}
    for found in parts.values():
        for part in set(found):
            seen[part] = seen.get(part, 0) + 1
    listed = {label for label, found in parts.items() if len(found) > 1 and any(seen[part] > 1 for part in found)}
    return [label for label in labels if label in listed or _LISTED.search(label)]
