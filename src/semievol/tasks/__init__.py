"""How a kind of question is asked, and how its answer is read."""

from collections.abc import Sequence
from typing import Protocol

from semievol.config import TaskConfig
from semievol.plugins import Implementations, implementation
from semievol.records import Example, Message, Response

TASKS: Implementations = {
    "multiple_choice": ("semievol.tasks.multiple_choice:MultipleChoice", None),
    "label": ("semievol.tasks.label:Label", None),
    "labels": ("semievol.tasks.labels:Labels", None),
    "number": ("semievol.tasks.number:Number", None),
    "free_text": ("semievol.tasks.free_text:FreeText", None),
}


class Task(Protocol):
    """One kind of question."""

    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        """Learns what it needs from the labeled examples as they were read, such as the set of labels.

        Raises:
            DataError: the labeled examples do not make such a task.
        """

    def normalize(self, example: Example) -> Example:
        """The example with its answer in canonical form (a letter, a known label, a plain number, a text).

        An example without an answer comes back checked for the rest, such as its options.

        Raises:
            DataError: its answer or options cannot be; the message does not name the row, the caller does.
        """

    def messages(self, example: Example, references: Sequence[Example] = ()) -> tuple[Message, ...]:
        """The chat that asks the question, up to and without the answer, nearest reference first (Eq. 3)."""

    def justify(self, example: Example, candidates: Sequence[str]) -> tuple[Message, ...]:
        """The chat that shows the candidate answers and asks for the final one (Eq. 5)."""

    def response(self, example: Example) -> str:
        """The text that trains a model to answer the example."""

    def parse(self, text: str, example: Example) -> str | None:
        """The canonical answer in a response to the example; `None` if there is none. Never raises."""

    def parse_cut(self, text: str, example: Example) -> str | None:
        """The canonical answer in a response that was cut, if it is sure that no more of it would have come."""

    def equal(self, first: str, second: str) -> bool:
        """Whether two canonical answers mean the same; also what makes an answer right."""

    def stops(self) -> tuple[str, ...]:
        """Texts that begin another question: a response that comes to one of them is over."""

    def notes(self, labeled: Sequence[Example]) -> tuple[str, ...]:
        """What a person should know of how the answers of the labeled rows, as they were read, are understood."""

    def answers(self) -> tuple[str, ...] | None:
        """The closed set of canonical answers, shared by all examples; `None` if there is none."""

    def choices(self, example: Example) -> tuple[str, ...] | None:
        """Every canonical answer that can be given to the example, in order; `None` if they are not a closed set."""


def answer_in(task: Task, response: Response, example: Example) -> str | None:
    """The canonical answer in a response; `None` if there is none, or it failed."""
    if response.finish == "error":
        return None
    read = task.parse_cut if response.finish == "length" else task.parse
    return read(response.text, example)


def open_task(config: TaskConfig, labeled: Sequence[Example]) -> Task:
    """The task that `task.kind` names."""
    task: Task = implementation("task.kind", config.kind, TASKS)(config, labeled)
    return task
