"""What a person should know of how a model's chat template writes their rows."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from semievol.config import Config
from semievol.data import Dataset
from semievol.local.families import writes_chats
from semievol.records import Message

_SPELLED = re.compile(r"<\|\w{2,30}\|>|\[/?INST\]|<(?:start|end)_of_turn>")
"""Control tokens as many models spell them, for services, whose tokenizer is not at hand."""


def template_notes(config: Config, dataset: Dataset) -> Iterator[str]:
    """Control tokens that rows spell out, a refused system, and answers that the template writes otherwise."""
    if not writes_chats(config):
        yield from _marked(dataset, _spelled, "a service may take that for a control token")
        return
    from semievol.models.loading import load_template

    template = load_template(config.model)
    yield from _marked(dataset, template.marks_in, "it is given to the model as text")
    chats = (dataset.task.messages(example) for example in dataset.labeled[:1])
    if any(chat[0]["role"] == "system" for chat in chats) and template.folds_system:
        yield "the chat template takes no system's text: it stands before the user's first"
    if not template.is_usual:
        yield (
            "the chat template writes a chat with its answer otherwise than the prompt for one; models are trained to "
            "go on from that prompt, as they are asked"
        )


def _marked(dataset: Dataset, marks: Callable[[Sequence[Message]], list[str]], consequence: str) -> Iterator[str]:
    counts: Counter[str] = Counter()
    rows = 0
    for example in chain(dataset.labeled, dataset.unlabeled, dataset.test):
        if marks_of_row := set(marks(dataset.task.messages(example))):
            rows += 1
            counts.update(marks_of_row)
    if rows:
        names = ", ".join(mark for mark, _ in counts.most_common(3))
        yield f"the text of {rows} rows spells out a control token ({names}); {consequence}"


def _spelled(messages: Sequence[Message]) -> list[str]:
    return [mark for message in messages for mark in _SPELLED.findall(message["content"])]
