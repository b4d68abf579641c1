"""Numbers as people and models write them: `$1,234.5`, `12%`, `(3)`, `1 1/2`, `3.5 million`, `2bn`, `1e-3`, `−5`.

A point stands before the decimals, and commas, spaces and apostrophes between groups of three digits; with the decimal
mark `comma` the point and the comma change places. What could be read in two ways (`12,5` with a decimal point) is no
number. LaTeX's fractions and powers of ten are read.
"""

import re
from collections import deque
from collections.abc import Iterator
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

Mark = Literal["point", "comma"]

LENGTH = 100
"""Longer than this is no number, nor is what lies beyond 1e±30: both would cost memory without end."""

_WORDS = {
    "hundred": 10**2,
    "thousand": 10**3,
    "thousands": 10**3,
    "tausend": 10**3,
    "mil": 10**3,
    "lakh": 10**5,
    "lakhs": 10**5,
    "million": 10**6,
    "millions": 10**6,
    "millionen": 10**6,
    "millón": 10**6,
    "millones": 10**6,
    "milhão": 10**6,
    "milhões": 10**6,
    "milioni": 10**6,
    "mio": 10**6,
    "mn": 10**6,
    "mln": 10**6,
    "crore": 10**7,
    "crores": 10**7,
    "billion": 10**9,
    "billions": 10**9,
    "bn": 10**9,
    "bln": 10**9,
    "milliard": 10**9,
    "milliards": 10**9,
    "milliarde": 10**9,
    "milliarden": 10**9,
    "miliardi": 10**9,
    "mrd": 10**9,
    "mil millones": 10**9,
    "billionen": 10**12,
    "trillion": 10**12,
    "trillions": 10**12,
    "trn": 10**12,
    "tn": 10**12,
}
_SIGNS = {
    "百万": 10**6,
    "千": 10**3,
    "万": 10**4,
    "萬": 10**4,
    "만": 10**4,
    "亿": 10**8,
    "億": 10**8,
    "억": 10**8,
}
_LETTERS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
"""Right behind the number: k, K, M and B of any, the small ones and t of money, for 5m is 5 metres and $5m is not."""
_SCALES = _WORDS | _SIGNS | _LETTERS
_MONEY = r"(?:US|AU|CA|HK|NZ|A|C|R)?[$€£¥₹₩]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|Rs\.?)(?![^\W\d])"
_SPACE = " \u00a0\u2007\u2009\u202f"
_UNIT = re.compile(rf"[{_SPACE}]?[€$£¥]?(?: ?(?:[^\W\d_]|[/°]){{1,20}}){{0,2}} ?\.?")
_SPACED_ONCE = re.compile(r"\A(\D{0,3}\d{1,3}) (?=\d{3}(?! ?[\d/⁄]))")
_NEGATIVE = re.compile(r"(?:negative|minus)\s+(?=[$€£¥.\d\\])", re.IGNORECASE)
_LATEX = (
    (re.compile(r"\\(?:left|right)\b|\\[,;:! ()\[\]]"), ""),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s?\{([^{}]{0,60}+)\}"), r"\1"),
    (re.compile(r"(?<=\d)\s?\\[dt]?frac\s?\{\s?(\d{1,30})\s?\}\s?\{\s?(\d{1,30})\s?\}"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac\s?\{\s?(\d{1,30})\s?\}\s?\{\s?(\d{1,30})\s?\}"), r"\1/\2"),
    (re.compile(r"\\[dt]?frac\s?(\d)\s?(\d)"), r"\1/\2"),
)
_POWER = re.compile(r"(?<=\d)\s?(?:\\times|\\cdot|[×x*])\s?10\s?\^\s?\{?\s?([-−]?\d{1,3})\s?\}?")


@lru_cache(maxsize=2)
def _number(mark: Mark) -> re.Pattern[str]:
    point, comma = (r"\.", ",") if mark == "point" else (",", r"\.")
    words = "|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True))
    signs = "|".join(_SIGNS)
    return re.compile(
        rf"""
        (?<!\w)(?<!\d[.,])                 # not inside a word or a number: 40-4 is 40 and 4, B12 is none
        (?P<sign>(?<!\))[-+−–])?
        (?P<money>(?:{_MONEY})[ ]?(?P<minus>[-−])?)?
        (?:
            (?P<whole>\d++)[ ](?P<above>\d++)[/⁄](?P<below>\d++)
          | (?P<numerator>\d++)[ ]?[/⁄][ ]?(?P<denominator>\d++)(?![ ]?[/⁄.\d])
          | (?P<decimal>
                (?:
                    \d{{1,3}}(?:{comma}\d{{3}}){{1,12}}+(?!\d)
                  | \d{{1,2}}(?:{comma}\d{{2}}){{1,12}}{comma}\d{{3}}(?!\d)         # 1,00,000 in India
                  | \d{{1,3}}(?:['’{_SPACE[1:]}]\d{{3}}){{1,12}}+(?!\d)
                  | \d{{1,3}}(?:[ ]\d{{3}}){{2,12}}+(?!\d)
                  | \d{{1,3}}[ ]0\d\d(?!\d)
                  | \d++
                )(?:{point}\d*+)?
              | {point}\d++
            )(?![.,]\d)(?:[eE](?P<exponent>[-+−]?\d++))?
        )
        (?:
            [ ]?(?P<percent>[%％]|percent\b|per[ ]cent\b)
          | [{_SPACE}]?(?P<scale>(?:{words})(?!\w)|{signs})\.?
          | (?P<letter>(?-i:[kKMB])|(?(money)[ ]?[kmbt]|(?!)))(?!\w)
        )?
        """,
        re.VERBOSE | re.IGNORECASE,
    )


class Quantity(NamedTuple):
    """A number, and whether it was written in percent: 12% is the value 12 with the sign."""

    value: Fraction
    percent: bool

    def __str__(self) -> str:
        """Plain decimal text: `1234.5`, `12%`; what has no finite decimals is cut to 12 significant digits."""
        exact = Context(prec=30)
        decimal = exact.divide(Decimal(self.value.numerator), Decimal(self.value.denominator))
        if exact.flags[Inexact]:
            decimal = Context(prec=12).plus(decimal)
        text = f"{decimal:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text + "%" * self.percent


def whole(text: str, mark: Mark = "point") -> Quantity | None:
    """The number that the text is, with at most two words of unit behind it; `(3)` is -3; else `None`."""
    text = text.strip()
    if len(text) > 4 * LENGTH or len(text := _plain(text).strip().rstrip(".").strip()) > LENGTH:
        return None
    if text.startswith("(") and text.endswith(")"):
        inner = whole(text[1:-1], mark)
        return inner and inner._replace(value=-abs(inner.value))
    if negative := _NEGATIVE.match(text):
        inner = whole(text[negative.end() :], mark)
        return inner and inner._replace(value=-inner.value)
    match = _number(mark).match(_SPACED_ONCE.sub("\\1\u00a0", text))
    return _quantity(match, mark) if match and _UNIT.fullmatch(match.string, match.end()) else None


def first(text: str, mark: Mark = "point") -> Quantity | None:
    """The first number in the text; `None` if there is none."""
    return next(_found(_number(mark).finditer(_plain(text)), mark), None)


def last(text: str, mark: Mark = "point") -> Quantity | None:
    """The last number in the text; `None` if there is none among the last twenty that look like one."""
    return next(_found(reversed(deque(_number(mark).finditer(_plain(text)), maxlen=20)), mark), None)


def _found(matches: Iterator[re.Match[str]], mark: Mark) -> Iterator[Quantity]:
    return (quantity for match in matches if (quantity := _quantity(match, mark)) is not None)


def _plain(text: str) -> str:
    r"""The text with LaTeX's fractions and powers of ten as plain text: `\frac{3}{4}` is `3/4`, `3 \times 10^5` 3e5."""
    if "\\" in text or "{,}" in text:
        for pattern, plain in _LATEX:
            text = pattern.sub(plain, text)
    return _POWER.sub(r"e\1", text) if "10" in text else text


def _quantity(match: re.Match[str], mark: Mark) -> Quantity | None:
    exponent_text = (match["exponent"] or "0").replace("−", "-")
    if len(match[0]) > LENGTH or len(exponent_text) > 4 or abs(exponent := int(exponent_text)) > 99:
        return None
    if match["below"]:
        parts = (match["whole"], match["above"], match["below"])
    elif match["denominator"]:
        parts = ("0", match["numerator"], match["denominator"])
    else:
        parts = ("0", "0", "1")
    base, above, below = map(int, parts)
    if below == 0:
        return None
    value = base + Fraction(above, below)
    if match["decimal"]:
        value = Fraction(Decimal(_digits(match["decimal"], mark))) * Fraction(10) ** exponent
    if scale := match["scale"] or match["letter"]:
        value *= _SCALES[scale.strip().lower()]
    signs = [match["sign"], match["minus"]]
    if value and not Fraction(1, 10**30) <= value < 10**30:
        return None
    negative = sum(sign is not None and sign in "-−–" for sign in signs) == 1
    return Quantity(-value if negative else value, match["percent"] is not None)


def _digits(decimal: str, mark: Mark) -> str:
    """The digits with a point before the decimals, and nothing between groups."""
    point, comma = (".", ",") if mark == "point" else (",", ".")
    return re.sub(rf"[{re.escape(comma)}'’{_SPACE}]", "", decimal).replace(point, ".").rstrip(".")


def same(first: Quantity, second: Quantity, tolerance: float) -> bool:
    """Whether the numbers lie within the relative error of each other.

    If one of the two is in percent, its number and a hundredth of it both count: the answers of ConvFinQA hold
    24.5 % as 0.245 and elsewhere percentages as they stand in the table.
    """
    readings = [first.value]
    if first.percent != second.percent:
        if second.percent:
            first, second = second, first
        readings = [first.value, first.value / 100]
    return any(_near(value, second.value, tolerance) for value in readings)


def _near(first: Fraction, second: Fraction, tolerance: float) -> bool:
    # Relative to the larger, as in math.isclose, so that the order does not matter; only zero is near zero.
    return abs(first - second) <= Fraction(tolerance) * max(abs(first), abs(second))
