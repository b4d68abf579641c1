"""What is trained on and asked: random letters, a token each."""

import random
import string
from dataclasses import dataclass

from semievol.records import Message, Request, Sampling, TrainingExample


@dataclass(frozen=True)
class Size:
    """How much work there is; lengths in tokens, without the few of the chat template."""

    long: int
    """Length of a long training row; all of it but the prompt's few letters is trained on."""
    shared: int
    """Of the instruction that all short rows begin with."""
    own: int
    """Of what a short row has for itself."""
    answer: int
    """Of a short row's answer."""
    together: int
    """Short rows in one step."""
    steps: int
    """Steps of each training; the first two are not timed."""
    document: int
    """Of a prompt that shares nothing."""
    documents: int
    questions: int
    """Prompts that share their instruction."""
    new: int
    """Tokens that are generated for each of them."""


FULL = Size(4096, 384, 64, 8, 16, 9, 2048, 48, 256, 16)
TINY = Size(96, 48, 8, 4, 4, 3, 64, 3, 6, 3)


def long_rows(size: Size) -> list[TrainingExample]:
    """A row for each step, nearly all of it the answer."""
    drawn = random.Random(0)
    return [
        TrainingExample(f"long-{row}", _chat(_letters(drawn, 16)), _letters(drawn, size.long - 48))
        for row in range(size.steps)
    ]


def short_rows(size: Size) -> list[TrainingExample]:
    """`together` rows for each step, one instruction before all of them."""
    drawn = random.Random(1)
    instruction = _letters(drawn, size.shared)
    return [
        TrainingExample(f"short-{row}", _chat(instruction + _letters(drawn, size.own)), _letters(drawn, size.answer))
        for row in range(size.steps * size.together)
    ]


def documents(size: Size) -> list[Request]:
    """Answers to be scored after long prompts that share nothing."""
    drawn = random.Random(2)
    return [
        Request(f"document-{row}", _chat(_letters(drawn, size.document)), "base", response=_letters(drawn, 8))
        for row in range(size.documents)
    ]


def questions(size: Size) -> list[Request]:
    """Prompts with a shared instruction, to be answered greedily."""
    drawn = random.Random(3)
    instruction = _letters(drawn, size.shared)
    greedy = Sampling(temperature=0.0, max_tokens=size.new)
    return [
        Request(f"question-{row}", _chat(instruction + _letters(drawn, size.own)), "base", greedy)
        for row in range(size.questions)
    ]


def _chat(text: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": text},)


def _letters(drawn: random.Random, count: int) -> str:
    return "".join(drawn.choices(string.ascii_letters, k=count))
