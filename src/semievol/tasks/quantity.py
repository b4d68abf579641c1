"""Numbers as people and models write them: `$1,234.5`, `12%`, `(3)`, `1 1/2`, `3.5 million`, `1e-3`, `−5`."""

import re
from collections import deque
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import NamedTuple

LENGTH = 100
"""Longer than this is no number, nor is what lies beyond 1e±30: both would cost memory without end."""

_NUMBER = re.compile(
    r"""
    (?<!\w)(?<!\d\.)                    # not inside a word or a number: 40-4 is 40 and 4, B12 is none
    (?P<sign>(?<!\))[-+−–])?
    (?:[$€£¥][ ]?(?P<minus>[-−])?)?
    (?:
        (?P<whole>\d++)[ ](?P<above>\d++)[/⁄](?P<below>\d++)
      | (?P<numerator>\d++)[ ]?[/⁄][ ]?(?P<denominator>\d++)(?![ ]?[/⁄.\d])
      | (?P<decimal>(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d*+)?|\.\d++)(?:[eE](?P<exponent>[-+−]?\d++))?
    )
    (?:[ ]?(?P<percent>%|percent\b|per[ ]cent\b)|[ ](?P<scale>thousand|million|billion|trillion)s?\b)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_UNIT = re.compile(r" ?[€$£¥]?(?: ?(?:[^\W\d_]|[/°]){1,20}){0,2} ?\.?")
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


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


def whole(text: str) -> Quantity | None:
    """The number that the text is, with at most two words of unit behind it; `(3)` is -3; else `None`."""
    text = text.strip().rstrip(".").strip()
    if len(text) > LENGTH:
        return None
    if text.startswith("(") and text.endswith(")"):
        inner = whole(text[1:-1])
        return inner and inner._replace(value=-abs(inner.value))
    match = _NUMBER.match(text)
    return _quantity(match) if match and _UNIT.fullmatch(text, match.end()) else None


def first(text: str) -> Quantity | None:
    """The first number in the text; `None` where there is none."""
    for match in _NUMBER.finditer(text):
        if (found := _quantity(match)) is not None:
            return found
    return None


def last(text: str) -> Quantity | None:
    """The last number in the text; `None` where there is none among the last twenty that look like one."""
    for match in reversed(deque(_NUMBER.finditer(text), maxlen=20)):
        if (found := _quantity(match)) is not None:
            return found
    return None


def _quantity(match: re.Match[str]) -> Quantity | None:
    written = (match["exponent"] or "0").replace("−", "-")
    if len(match[0]) > LENGTH or len(written) > 4 or abs(exponent := int(written)) > 99:
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
        digits = match["decimal"].replace(",", "").rstrip(".")
        value = Fraction(Decimal(digits)) * Fraction(10) ** exponent
    if match["scale"]:
        value *= _SCALES[match["scale"].lower()]
    signs = [match["sign"], match["minus"]]
    if value and not Fraction(1, 10**30) <= value < 10**30:
        return None
    negative = sum(sign is not None and sign in "-−–" for sign in signs) == 1
    return Quantity(-value if negative else value, match["percent"] is not None)


def same(one: Quantity, other: Quantity, tolerance: float) -> bool:
    """Whether the numbers lie within the relative error of each other.

    Where one of the two is in percent, its number and a hundredth of it both count: the answers of ConvFinQA hold
    24.5 % as 0.245 and elsewhere percentages as they stand in the table.
    """
    readings = [one.value]
    if one.percent != other.percent:
        if other.percent:
            one, other = other, one
        readings = [one.value, one.value / 100]
    return any(_near(value, other.value, tolerance) for value in readings)


def _near(one: Fraction, other: Fraction, tolerance: float) -> bool:
    # Relative to the larger, as in math.isclose, so that the order does not matter; only zero is near zero.
    return abs(one - other) <= Fraction(tolerance) * max(abs(one), abs(other))
