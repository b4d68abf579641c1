"""Questions with 2 to 26 options, answered with a letter.

How the answer column is read: `B`, `b`, `(B)`, `B.` and "Answer: B" are the letter; `2` is the number of an option,
counted from 1; any other text must be the full text of one option. If a cell can be read in two ways that lead to
different options (answer `3` of the options 2, 3, 4, 5), the labeled rows decide: if some answers among them can only
be letters or numbers, so is this one; if some can only be texts, so is this one. If they say nothing, a letter is
a letter and a number is the text.

How a response is read, in this order:

1. what follows the last "Answer:" or "the answer is": an option's full text, or its letter;
2. the whole response, or its first line, is the full text of an option;
3. the one letter that is claimed anywhere: alone on a line, marked as in `(B)`, `B)` and `B. ...`, before "is correct",
   or after words such as "option", "is" and "choose". If two are claimed, there is no answer. "A" and "I" before
   another word are English words, and a letter before "is wrong" is not claimed.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from string import ascii_uppercase
from typing import Literal
from unicodedata import normalize as unicode_form

from semievol.config import TaskConfig
from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks.base import BaseTask, shortened

_BARE = re.compile(r"[\s*_`\"'(\[{$]{0,20}([A-Za-z])[\s*_`\"')\]}$.:,]{0,20}")
_CLAIMED = re.compile(
    r"(?i:the )?(?i:(?:correct )?(?:option|choice|letter) )?(?:\\boxed|\\text|[\s*_`\"'(\[{$]){0,8}"
    r"(?P<letter>[A-Za-z])(?![\w'’-])(?P<mark>[*_`\"'\s]{0,4}(?:[).:,;\]}]|\Z|\n))?",
)
_ENGLISH = re.compile(r"[AI]\s+(?!(?:and|or|is|because|since|as)\b)\w")
_REJECTED = re.compile(
    r"[)\]*\s]{0,4}(?:(?:,|/|&|\band\b|\bor\b|\bnor\b)[\s(\[*]{0,4}[A-Z](?!\w)[)\]*\s]{0,4}){0,8}"
    r"(?:is|are|can be|must be|seems?) (?:both |all |clearly |also )?(?:wrong|false|incorrect|not|excluded|ruled|out)\b"
)
_REJECTED_BEFORE = re.compile(
    r"(?i:\bneither|\bnor|\bnot|n't(?: be)?)[\s(\[*]{1,4}(?:[A-Z][)\]*]{0,2},? (?:or|nor|and) )?\Z"
)
_AND_ANOTHER = re.compile(r"[)\]*\s]{0,4}(?:,|/|&|\bor\b|\band\b)\s{0,3}[(\[*]{0,3}[A-Z](?![\w'’-])")
_ALONE = re.compile(r"^[ \t*_`\"'(\[$]{0,8}(?P<letter>[A-Z])(?:[).:\]]|[*_`\"'$ \t]{0,8}$)", re.MULTILINE)
_LEADING = re.compile(r"\s{0,8}(?P<letter>[A-Z](?=\s{0,2}[,–—-]\s)|[a-z](?=\)\s))")
_CALLED_RIGHT = re.compile(r"(?<!\w)(?P<letter>[A-Z])\)? is (?:the )?(?:correct|right|best|answer)\b")
_MARKED = re.compile(r"\((?P<letter>[A-Z])\)|(?<![\w(])(?P<open>[A-Z])\)")
_AFTER_WORD = re.compile(
    r"\b(?i:is|be|it's|that's|choose|pick|select|with|answer|option|choice|letter|or|and|between"
    r"|therefore,|thus,|hence,)\s{1,3}"
    r"[*_`\"'(\[]{0,3}(?P<letter>[A-Z])(?![\w'’-]|\.\w)",
)
_PAIRED = re.compile(rf"(?<!\w)(?P<letter>[A-Z])(?={_AND_ANOTHER.pattern})")
_CLAIMS = (_ALONE, _CALLED_RIGHT, _MARKED, _AFTER_WORD, _PAIRED)
_LISTED = re.compile(r"[\s(\[]*([A-Z])[).:\]]\s*\S")
_LETTER = re.compile(r"[a-z]")
_GOES_ON = re.compile(r"\w|[-/.,]\w")

Reading = Literal["key", "text"]


class MultipleChoice(BaseTask):
    """A letter, A for the first option."""

    default_instruction = "Choose the right option. Answer with its letter only."

    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        super().__init__(config, labeled)
        readings = {reading for example in labeled if (reading := self._certain_reading(example))}
        self._reading: Reading | None = readings.pop() if len(readings) == 1 else None

    def question(self, example: Example) -> str:
        """The question, and a line for each option."""
        lines = (f"{letter}. {' '.join(text.split())}" for letter, text in lettered(example.options))
        return "\n".join((super().question(example), *lines))

    def choices(self, example: Example) -> tuple[str, ...]:
        """The letters of its options."""
        return tuple(letter for letter, _ in lettered(example.options))

    def normalize(self, example: Example) -> Example:
        """The example with its answer as a letter, and without letters that stand in the option texts already."""
        count = len(example.options)
        if not count:
            raise DataError("there are no options; name their column in data.columns.options")
        if not 2 <= count <= len(ascii_uppercase):
            raise DataError(f"there must be 2 to {len(ascii_uppercase)} options and there are {count}")
        return super().normalize(replace(example, options=unlettered(example.options)))

    def gold(self, text: str, example: Example) -> str:
        """The letter that the answer column means."""
        by_key, by_text = self._readings(text, example.options)
        if len(by_text) > 1 and by_key is None:
            raise DataError(f"answer {shortened(text)} is the text of {len(by_text)} options; give the letter")
        text_letter = by_text[0] if len(by_text) == 1 else None
        prefers_text = self._reading == "text" or (self._reading is None and text.strip("() .").isdecimal())
        letter = (text_letter or by_key) if prefers_text else (by_key or text_letter)
        if letter is None:
            hint = "; if they count from 0, set data.answer_index to 0" if text.strip("() .") == "0" else ""
            raise DataError(f"answer {shortened(text)} is not one of the {len(example.options)} options{hint}")
        return letter

    def read(self, text: str, example: Example) -> str | None:
        """The letter in a text that claims one answer and may go on: `B`, `(B) because`, `B. iron`, `iron`."""
        return _text_at_start(text, example.options) or _letter_at_start(text, len(example.options))

    def find(self, text: str, example: Example) -> str | None:
        """The letter in a response, in the order that the module describes."""
        text = unicode_form("NFKC", text)
        for claim in self.claims(text):
            if (letter := self.read(claim, example)) is not None:
                return letter
        first_line = next(iter(text.strip().splitlines()), "")
        for part in (text, first_line):
            same_text = _with_text(part, example.options)
            if len(same_text) == 1 and not _LETTER.fullmatch(folded(part)):
                return same_text[0]
        if bare := _BARE.fullmatch(text.strip()):
            return _within(bare[1], len(example.options))
        return _only_claimed(text, example.options)

    def find_whole(self, text: str, example: Example) -> str | None:
        """The letter that the response is or claims, or the text of an option that no other goes on from."""
        text = unicode_form("NFKC", text)
        claim = next(self.claims(text), "")
        for part in (claim, text):
            first_line = next(iter(part.strip().splitlines()), "")
            if bare := _BARE.fullmatch(first_line):
                return _within(bare[1], len(example.options))
            if (letter := _whole_text(first_line, example.options)) is not None:
                return letter
            match = _CLAIMED.match(first_line)
            is_marked = match and match["mark"] is not None and (match["letter"].isupper() or match["mark"].strip())
            if is_marked and (letter := self.read(first_line, example)) is not None:
                return letter
        return None

    def _readings(self, text: str, options: Sequence[str]) -> tuple[str | None, list[str]]:
        """The letter of a cell read as letter or number, and the letters of the options whose text it is."""
        claim = next(self.claims(text), text)
        digits = claim.strip("() .")
        if digits.isdecimal() and len(digits) <= 2:
            by_key = ascii_uppercase[int(digits) - 1] if 1 <= int(digits) <= len(options) else None
        else:
            bare = _BARE.fullmatch(claim)
            by_key = _within(bare[1], len(options)) if bare else _listed(claim, options)
        return by_key, _with_text(claim, options) or _with_text(text, options)

    def _certain_reading(self, example: Example) -> Reading | None:
        options = unlettered(example.options)
        text = (self._marked(example.answer) or example.answer) if example.answer else ""
        by_key, by_text = self._readings(text, options)
        if by_key and not by_text:
            return "key"
        return "text" if by_text and not by_key else None


def lettered(options: Sequence[str]) -> list[tuple[str, str]]:
    """Each option's letter with its text."""
    return list(zip(ascii_uppercase, options, strict=False))


def unlettered(options: Sequence[str]) -> tuple[str, ...]:
    """The option texts; if every one begins with its own letter (`A. iron`, `(B) zinc`), without the letters."""
    matches = [_LISTED.match(option) for option in options]
    if [match[1] for match in matches if match] != list(ascii_uppercase[: len(options)]):
        return tuple(options)
    return tuple(match.string[match.end() - 1 :].strip() for match in matches if match)


def folded(text: str) -> str:
    """The text by which options are compared: lower case, single spaces, no quotes around it and no final period."""
    return " ".join(unicode_form("NFKC", text).casefold().split()).strip("\"'`*_“”").removesuffix(".").rstrip()


def _with_text(text: str, options: Sequence[str]) -> list[str]:
    folded_text = folded(text)
    return [letter for letter, option in lettered(options) if folded_text and folded(option) == folded_text]


def _text_at_start(text: str, options: Sequence[str]) -> str | None:
    """The letter of the longest option whose text the text starts with; options that are one letter do not count."""
    start = folded(text)
    by_text: dict[str, list[str]] = {}
    for letter, option in lettered(options):
        folded_option = folded(option)
        if (
            folded_option
            and not _LETTER.fullmatch(folded_option)
            and start.startswith(folded_option)
            and not _GOES_ON.match(start, len(folded_option))
        ):
            by_text.setdefault(folded_option, []).append(letter)
    longest = by_text[max(by_text, key=len)] if by_text else []
    return longest[0] if len(longest) == 1 else None


def _whole_text(text: str, options: Sequence[str]) -> str | None:
    """The letter of the option that the text is or begins with, if no other option goes on from the text."""
    start = folded(text)
    longer = [option for option in options if folded(option).startswith(start)]
    if longer:
        letters = _with_text(text, options)
        return letters[0] if len(longer) == len(letters) == 1 and not _LETTER.fullmatch(start) else None
    return _text_at_start(f"{text}x", options)


def _letter_at_start(text: str, count: int) -> str | None:
    match = _CLAIMED.match(text)
    if match is None:
        return None
    if (match["letter"].islower() and match["mark"] is None) or _ENGLISH.match(text, match.start("letter")):
        return None
    return None if _AND_ANOTHER.match(text, match.end("letter")) else _within(match["letter"], count)


def _listed(text: str, options: Sequence[str]) -> str | None:
    """The letter of `B. iron`, if iron is the text of option B."""
    match = _LISTED.match(text)
    return match[1] if match and match[1] in _with_text(text[match.end() - 1 :], options) else None


def _only_claimed(text: str, options: Sequence[str]) -> str | None:
    letters = set()
    start = _LEADING.match(text)
    for match in chain([start] if start else (), *(pattern.finditer(text) for pattern in _CLAIMS)):
        group = "letter" if match["letter"] else "open"
        at = match.start(group)
        rejected = _REJECTED.match(text, match.end(group)) or _REJECTED_BEFORE.search(text[max(0, at - 24) : at])
        if not _ENGLISH.match(text, at) and not rejected:
            claim = text[at : at + 500]
            letters.add(_text_at_start(claim, options) or _within(match[group], len(options)))
    letters.discard(None)
    return letters.pop() if len(letters) == 1 else None


def _within(letter: str, count: int) -> str | None:
    upper = letter.upper()
    return upper if upper in ascii_uppercase[:count] else None
