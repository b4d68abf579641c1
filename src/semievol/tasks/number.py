"""Questions whose answer is a number, with or without a worked solution.

How answers are compared: within `task.relative_tolerance` of the larger of the two; a number in percent equals both
its number and a hundredth of it (see `quantity.same`). Units are not compared.
"""

import re

from semievol.errors import DataError
from semievol.records import Example
from semievol.tasks import quantity
from semievol.tasks.base import BaseTask, shortened

_CALCULATOR_MARK = re.compile(r"<<[^<>\n]{0,200}>>")


class Number(BaseTask):
    """A number; the canonical form is plain decimal text, with `%` kept where the answer is in percent."""

    default_instruction = "Answer the question with a number only."

    def read(self, text: str, example: Example) -> str | None:
        """The number that the text is."""
        found = quantity.whole(text)
        return None if found is None else str(found)

    def find(self, text: str, example: Example) -> str | None:
        """The number after the last "Answer:" that has one (after its last `=`), else the last number."""
        for claim in self.claims(text):
            line = claim.splitlines()[0].rpartition("=")[2]
            found = quantity.whole(line) or quantity.first(line)
            if found is not None:
                return str(found)
        found = quantity.last(text)
        return None if found is None else str(found)

    def gold(self, text: str, example: Example) -> str:
        """The number in the answer column, where "Answer:" may stand before it."""
        claim = next(self.claims(text), text)
        answer = self.read(claim, example)
        if answer is None:
            raise DataError(f"answer {shortened(text)} is not a number; for one in a text, set task.answer_pattern")
        return answer

    def solution(self, text: str) -> str:
        """The worked solution without the calculator marks of GSM8K: `40-4 = <<40-4=36>>36` is `40-4 = 36`."""
        return _CALCULATOR_MARK.sub("", text)

    def equal(self, one: str, other: str) -> bool:
        """Whether the numbers lie within `task.relative_tolerance` of each other."""
        first, second = quantity.whole(one), quantity.whole(other)
        if first is None or second is None:
            return one == other
        return quantity.same(first, second, self.config.relative_tolerance)
