"""Questions that are answered in free text, compared exactly, by edit distance or by shared words.

There is one right answer to a row; several accepted answers are not supported.
"""

import re
from collections import Counter, deque
from unicodedata import normalize as unicode_form

from rapidfuzz import fuzz

from semievol.records import Example
from semievol.tasks.base import BaseTask

_ANSWER_LINE = re.compile(
    r"^(?:\s{0,8}[*_#]{0,4}[ ]?(?:final )?answer[ \t*_]{0,4}:[*_]{0,4})++", re.IGNORECASE | re.MULTILINE
)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
# A point, comma or minus before a digit belongs to the number; + # % and currency signs change what a word means.
_PUNCTUATION = re.compile(r"(?![.,-]\d)[^\w\s+#%$€£¥]")


class FreeText(BaseTask):
    """A free answer; the canonical form is the stripped text, and `equal` does the comparing."""

    default_instruction = "Answer the question. Give the answer only."
    hashed = False

    def read(self, text: str, example: Example) -> str | None:
        """The text after its last "Answer:" at the start of a line, or all of it; `None` if that is blank."""
        lines = deque(_ANSWER_LINE.finditer(text), maxlen=1)
        return text[lines[0].end() if lines else 0 :].strip() or None

    def find(self, text: str, example: Example) -> str | None:
        """As `read`: a whole response may be the answer, so "the answer is" inside it starts nothing."""
        return self.read(text, example)

    def equal(self, answer: str, truth: str) -> bool:
        """Whether the texts match by `task.match`, after case, punctuation, articles and spaces are evened out."""
        first, second = plain_words(answer), plain_words(truth)
        if first == second:
            return True
        if self.config.match == "fuzzy":
            return fuzz.ratio(first, second) / 100 >= self.config.threshold
        if self.config.match == "token_f1":
            return token_f1(first.split(), second.split()) >= self.config.threshold
        return False


def plain_words(text: str) -> str:
    """The text in lower case without punctuation, articles and repeated spaces; never made empty by that."""
    lowered = unicode_form("NFKC", text).casefold()
    words = " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub(" ", lowered)).split())
    return words or " ".join(lowered.split())


def token_f1(first: list[str], second: list[str]) -> float:
    """The harmonic mean of the shares of words that each text has in common with the other, 0 to 1."""
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else 0.0
