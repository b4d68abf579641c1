"""A task for tests of the data: any answer is an answer but `F`, and upper case is canonical."""

from collections.abc import Sequence
from dataclasses import replace

from semievol.config import TaskConfig
from semievol.errors import DataError
from semievol.records import Example


class AnyAnswer:
    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        self.seen = tuple(labeled)

    def normalize(self, example: Example) -> Example:
        if example.answer == "F":
            raise DataError("answer 'F' is not one of the 4 options")
        if example.options == ("only",):
            raise DataError("1 option")
        answer = example.answer.upper() if example.answer else None
        return replace(example, answer=answer, response=answer)

    def notes(self, labeled: object) -> tuple[str, ...]:
        return ()

    def answers(self) -> None:
        return None
