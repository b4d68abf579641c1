"""Questions whose answer is a number, with or without a worked solution.

How answers are compared: within `task.relative_tolerance` of the larger of the two; a number in percent equals both
its number and a hundredth of it (see `quantity.same`). Units are not compared. The default tolerance, a hundredth, is
for figures that are rounded here and not there, as those computed from tables of ConvFinQA; if answers are counts,
as in GSM8K, 99 would be right for 100, and the tolerance belongs at 0.
"""

import re
from collections.abc import Sequence

from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks import quantity
from semievol.tasks.base import BaseTask, shortened

_AMBIGUOUS = 2
"""So many answers at least, before a note is made of how they are all written."""
_CALCULATOR_MARK = re.compile(r"<<[^<>\n]{0,200}>>")


class Number(BaseTask):
    """A number; the canonical form is plain decimal text, with `%` kept if the answer is in percent."""

    default_instruction = "Answer the question with a number only."

    def read(self, text: str, example: Example) -> str | None:
        """The number that the text is."""
        number = quantity.whole(text, self.config.decimal_mark)
        return None if number is None else str(number)

    def find(self, text: str, example: Example) -> str | None:
        """The number after the last "Answer:" that has one (after its last `=`), else the last number."""
        mark = self.config.decimal_mark
        for claim in self.claims(text):
            line = claim.splitlines()[0].rpartition("=")[2]
            number = quantity.whole(line, mark) or quantity.first(line, mark)
            if number is not None:
                return str(number)
        number = quantity.last(text, mark)
        return None if number is None else str(number)

    def gold(self, text: str, example: Example) -> str:
        """The number in the answer column, where "Answer:" may stand before it."""
        claim = next(self.claims(text), text)
        answer = self.read(claim, example)
        if answer is None:
            other_mark: quantity.Mark = "comma" if self.config.decimal_mark == "point" else "point"
            if quantity.whole(claim, other_mark) is not None:
                raise DataError(
                    f"answer {shortened(text)} is a number with a decimal {other_mark}; set task.decimal_mark"
                )
            raise DataError(f"answer {shortened(text)} is not a number; for one in a text, set task.answer_pattern")
        return answer

    def solution(self, text: str) -> str:
        """The worked solution without the calculator marks of GSM8K: `40-4 = <<40-4=36>>36` is `40-4 = 36`."""
        return _CALCULATOR_MARK.sub("", text)

    def notes(self, labeled: Sequence[Example]) -> tuple[str, ...]:
        """Whether the decimal mark may as well stand between groups of digits."""
        point, name, wrong_mark = (
            (".", "point", "comma") if self.config.decimal_mark == "point" else (",", "comma", "point")
        )
        texts = [
            text for example in labeled if point in (text := self._marked(example.answer or "") or example.answer or "")
        ]
        grouped = [text for text in texts if re.fullmatch(rf"\D*[1-9]\d{{0,2}}{re.escape(point)}\d{{3}}\D*", text)]
        if len(texts) < _AMBIGUOUS or len(grouped) < len(texts):
            return ()
        return (
            f"all {len(texts)} labeled answers with a {name} have three digits behind it, such as "
            f"{shortened(texts[0].strip())}: they are read as decimals; if they are thousands, set task.decimal_mark "
            f"to {wrong_mark}",
        )

    def equal(self, answer: str, truth: str) -> bool:
        """Whether the numbers lie within `task.relative_tolerance` of each other."""
        first, second = quantity.whole(answer), quantity.whole(truth)
        if first is None or second is None:
            return answer == truth
        return quantity.same(first, second, self.config.relative_tolerance)
