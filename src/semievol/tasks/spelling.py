"""When two spellings are one label, and how far a response may be from a label's spelling."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from unicodedata import normalize as unicode_form

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0001-\U000e007f]"
)
"""Control characters, marks of direction, fillers, and selectors of how a sign is drawn."""
_DRAWN_ALIKE = str.maketrans("’ʼ＇", "'''", "\u200c\u200d")
"""Apostrophes, and joiners: scripts and emoji need these to look right, and a response may lack them."""
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!<>|~])")
_RANGE = re.compile(r"(?<=\d)\s+-\s+(?=\d)")
_SIGN_IN_WORDS = re.compile(r"(?<!\w)(?:minus|negative)\s+(?=\d)")
_WHOLE = re.compile(r"([-+]?\d{1,18})\.0+")
_MINUS = re.compile(r"[−–—‐‑](?=\s?\d)")
_JOINT = re.compile(r"(?<=\w)[\s_‐‑–—-]+(?=[^\W\d])|(?<=[^\W\d])[_-](?=\d)")
_SIGN = re.compile(r"(?<!\d)(?<!\d\s)([-+<>≤≥=])\s+(?=\d)")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|`{1,3})(?=\S)(.+?)(?<=\S)\1", re.DOTALL)
_POSITIVE = re.compile(r"\+\d[\d.,]*")
_QUOTES = " \t\r\n\"'`“”‘’«»「」『』"
_SENTENCE = ".,:;!?。，：；！？…"
_MARKS = _QUOTES + _SENTENCE + "*()[]{}（）【】"
_ANGLES = "<>"

Fold = Callable[[str], str]


def tidy(text: str) -> str:
    """The text as a person sees it: no invisible characters, composed accents, single spaces.

    Two cells with one tidy text are one label.
    """
    composed = text if text.isascii() else unicode_form("NFC", text)
    return " ".join(_INVISIBLE.sub("", composed).split())


def unescaped(text: str) -> str:
    r"""The text without the backslashes that Markdown wants before its marks: `A*` for `A\*`."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def one_number(text: str) -> str:
    """The tidy text; a whole number without empty decimals, for a column of 0 and 1 may be read as 0.0 and 1.0."""
    plain = tidy(text)
    match = _WHOLE.fullmatch(plain)
    return match[1] if match else plain


def folded(text: str) -> str:
    """The text without regard to case, to hyphens between words and to how a minus is written."""
    plain = tidy(text).casefold()
    if not plain.isascii():
        plain = plain.translate(_DRAWN_ALIKE)
    plain = _RANGE.sub("-", _SIGN_IN_WORDS.sub("-", _MINUS.sub("-", plain)))
    return _SIGN.sub(r"\1", _JOINT.sub(" ", plain))


def bare(text: str) -> str:
    """`folded`, with letters and digits in their plain form and without marks around them."""
    plain = folded(unicode_form("NFKC", text))
    return _without_angles(plain.strip(_MARKS)) or plain


def peeled(text: str) -> list[str]:
    """The text, and what is left as more and more of the marks around it are taken off: `**A*.**`, `A*.`, `A*`, `A`."""
    spellings = [text.strip()]
    for take in (_without_emphasis, _without_sentence, _without_emphasis, _without_marks, _without_angles):
        if (less := take(spellings[-1])) and less != spellings[-1]:
            spellings.append(less)
    return spellings


def _without_emphasis(text: str) -> str:
    match = _EMPHASIS.fullmatch(text)
    return match[2].strip() if match else text


def _without_sentence(text: str) -> str:
    return text.strip(_QUOTES).rstrip(_SENTENCE).strip(_QUOTES)


def _without_marks(text: str) -> str:
    return text.strip(_MARKS)


def _without_angles(text: str) -> str:
    """Without `<` and `>`, unless they stand before a number, where they mean something."""
    less = text.strip(_ANGLES + _MARKS)
    return text if less[:1].isdigit() else less


class Spellings(Mapping[str, str]):
    """Spelling -> label, looked up as it stands or by the nearest fold in which it is not two labels."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._exact: dict[str, str] = {}
        for spelling, label in pairs:
            self._exact.setdefault(one_number(spelling), label)
        self._longest = 4 * max(map(len, self._exact), default=0) + 200
        """Characters of the longest text that is a spelling with marks and spaces around it."""
        self._folds: list[tuple[Fold, dict[str, set[str]]]] = []
        for fold in (folded, bare):
            labels: dict[str, set[str]] = {}
            for spelling, label in self._exact.items():
                labels.setdefault(fold(spelling), set()).add(label)
            self._folds.append((fold, labels))

    def __getitem__(self, text: str) -> str:
        if (label := self._exact.get(one_number(text))) is not None:
            return label
        for fold, labels in self._folds:
            same_fold = labels.get(fold(text), ())
            if len(same_fold) == 1:
                return next(iter(same_fold))
            if same_fold:
                break
        raise KeyError(text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._exact)

    def __len__(self) -> int:
        return len(self._exact)

    def exact(self, text: str) -> str | None:
        """The label whose spelling the text is."""
        return self._exact.get(one_number(text))

    def said(self, text: str) -> str | None:
        """The label that a text with marks around it is; the exact spelling counts before any fold."""
        if len(text.strip()) > self._longest:
            return None
        candidates = peeled(text)
        if "\\" in text:
            candidates += peeled(unescaped(text))
        if _POSITIVE.fullmatch(candidates[-1]):
            candidates.append(candidates[-1][1:])
        for candidate in candidates:
            if (label := self.exact(candidate)) is not None:
                return label
        for candidate in candidates:
            if (label := self.get(candidate)) is not None:
                return label
        return None

    def may_go_on(self, text: str) -> bool:
        """Whether there is a longer spelling that begins so."""
        start = folded(peeled(text)[-1])
        return any(folded_label.startswith(start) and folded_label != start for folded_label in self.by_fold())

    def by_fold(self) -> Mapping[str, set[str]]:
        """Folded spelling -> the labels that it may be."""
        return self._folds[0][1]
