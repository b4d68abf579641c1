"""What all kinds of questions share: the layout of the prompt, and where in a text the answer is looked for.

A task of your own subclasses `BaseTask` in any file of yours and is named in the config as `my_package.module:Class`.
It needs one method, `read`; everything else has a default::

    class YesNo(BaseTask):
        default_instruction = "Answer yes or no."

        def read(self, text, example):
            word = text.strip(" .").lower()
            return word if word in ("yes", "no") else None

The prompt is one user message. The instruction stands first, so that engines can share its computed prefix between
rows; then come the references, the nearest last, because small models lean on what stands next to the question; then
the question, in the form of the references. The response is the bare answer: where training rows are few, no step is
spent on learning a phrase around it, and the mean NLL of a response (Eq. 6) is that of the answer alone.
"""

import re
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain

from semievol.config import TaskConfig
from semievol.errors import ConfigError, DataError
from semievol.records import Example, Message
from semievol.tasks import Task
from semievol.tasks.responses import before_next, unwrapped, without_thoughts

_ELSEWHERE = (
    r"(?:\b(?:antwort|respuesta|réponse|resposta|risposta|antwoord|svar|odpowiedź|odpověď|válasz|răspuns|răspunsul"
    r"|ответ|відповідь|cevap|yanıt|jawaban|đáp án|απάντηση)"
    r"|答案|答え|回答|解答|정답|답|الإجابة|الجواب|उत्तर|คำตอบ|תשובה)"
    r"[\s*_]{0,4}(?:[:：=]|是|为|為|は|은|는|\b(?:ist|lautet|es|est|é|è|är|er|jest|je|este)\b)"
)
"""The same in other languages."""
GOING_ON = ("0", "a", ".5", " and")
"""How a response that was cut might have gone on: a mark that all of them leave as it is is complete."""
CLAIM_CHARS = 2000
"""How much text after an "Answer:" is looked at."""
CLAIMS = 50
"""How many "Answer:" of a response are looked at, from the last."""


class BaseTask(Task):
    """A task that needs `read`, and may replace any of the rest."""

    default_instruction: str = "Answer the question. Give the answer only."
    """Stands first in the prompt, unless `task.instruction` replaces it."""
    heading: str = "Question"
    """Stands before the prompt text."""
    claim_words: tuple[str, ...] = ("answer",)
    """A response says "the X is ..." or "X: ..." with one of these words for X."""
    hashed: bool = True
    """Whether `#### X` says that X is the answer."""

    def __init__(self, config: TaskConfig, labeled: Sequence[Example]) -> None:
        self.config = config
        self._pattern = _compiled(config.answer_pattern)
        self._ending = self._solution_ending(labeled)
        words = "|".join(map(re.escape, self.claim_words))
        self._claim = re.compile(
            rf"(?:\b(?:{words})\b(?:\s(?:to|for|of|the|this|that|question|problem|text|option|choice)\b){{0,5}}"
            rf"[\s*_]{{0,4}}(?:\b(?:is|would be|should be|must be)\b|[:：=])|{_ELSEWHERE})[\s*_:：=]{{0,8}}",
            re.IGNORECASE,
        )
        self._next = re.compile(rf"^[ \t*_#]{{0,8}}{re.escape(self.heading)}[*_]{{0,2}}:", re.MULTILINE)

    @abstractmethod
    def read(self, text: str, example: Example) -> str | None:
        """The canonical answer in a text that holds the answer and nothing else; `None` if it is no answer."""

    def find(self, text: str, example: Example) -> str | None:
        """The canonical answer in a whole response, which may be chatty; `None` if there is none."""
        for claim in self.claims(text):
            if (answer := self.read(claim.splitlines()[0], example)) is not None:
                return answer
        return self.read(text, example)

    def gold(self, text: str, example: Example) -> str:
        """The canonical answer in a cell of the answer column.

        Raises:
            DataError: there is none.
        """
        answer = self.read(text, example)
        if answer is None:
            raise DataError(f"answer {shortened(text)} cannot be read as an answer of a {self.config.kind} task")
        return answer

    def question(self, example: Example) -> str:
        """The question as the model sees it, without instruction."""
        return f"{self.heading}: {example.prompt.strip()}"

    @cached_property
    def instruction(self) -> str:
        """What the model is told first: `task.instruction`, or the words of the task."""
        if self.config.instruction is not None:
            return self.config.instruction.strip()
        if self._ending is not None:
            return f'Solve the problem step by step, then end with "{self._ending}".'
        return self.default_instruction

    def normalize(self, example: Example) -> Example:
        """The example with its canonical answer.

        Where `task.answer_pattern` finds the answer inside a longer text, a worked solution, that text becomes the
        example's response.
        """
        if example.answer is None:
            return example
        stripped = example.answer.strip()
        if not stripped:
            raise DataError("answer is empty")
        reading = self._marked(stripped)
        response = example.response
        if response is None and reading is not None and reading != stripped:
            response = self.solution(stripped)
        answer = self.gold(stripped if reading is None else reading, example)
        return replace(example, answer=answer, response=response)

    def solution(self, text: str) -> str:
        """The worked solution as it trains the model; here, as it stands in the answer column."""
        return text

    def messages(self, example: Example, references: Sequence[Example] = ()) -> tuple[Message, ...]:
        """The example's context, then one user message: instruction, references (the nearest last), question.

        The earlier turns of a reference are not shown.
        """
        solved = [f"{self._asked(reference)} {self.response(reference)}" for reference in reversed(references)]
        return self._chat(example, *solved, self._asked(example))

    def justify(self, example: Example, candidates: Sequence[str]) -> tuple[Message, ...]:
        """The chat of the plain question, with the distinct candidates between question and answer."""
        distinct: list[str] = []
        for candidate in candidates:
            if candidate and not any(self.equal(candidate, candidate_before) for candidate_before in distinct):
                distinct.append(candidate)
        long = any("\n" in candidate or ";" in candidate or len(candidate) > 40 for candidate in distinct)
        listed = "".join(f"\n- {candidate}" for candidate in distinct) if long else " " + "; ".join(distinct)
        suggested = f"Suggested answers, which may be wrong:{listed}\nGive the final answer."
        return self._chat(example, f"{self.question(example)}\n{suggested}\n{self._cue}")

    def response(self, example: Example) -> str:
        """The worked solution if the example has one, else the bare answer.

        Raises:
            ValueError: the example has neither.
        """
        if example.response is not None:
            return example.response
        if example.answer is None:
            raise ValueError(f"example {example.id} has no answer to train on")
        if self._ending is not None:
            return self._ending.replace("<answer>", example.answer)
        return example.answer

    def parse(self, text: str, example: Example) -> str | None:
        """The answer that `task.answer_pattern` marks, else a wrapped one, else the one that `find` finds.

        Thoughts are not looked at, nor what stands from the next question of the task's own form on.
        """
        spoken = before_next(without_thoughts(text), self._next)
        reading = self._marked(spoken)
        if reading is not None and (answer := self.read(reading, example)) is not None:
            return answer
        for inner in unwrapped(spoken, self.hashed):
            if (answer := self.read(inner, example)) is not None:
                return answer
        return self.find(spoken, example)

    def parse_cut(self, text: str, example: Example) -> str | None:
        """As `parse`, if what is marked or wrapped is complete, another question begins, or `find_whole` is sure."""
        spoken = without_thoughts(text)
        before_heading = before_next(spoken, self._next)
        if before_heading != spoken:
            return self.parse(text, example)
        if (reading := self._marked(before_heading)) is not None:
            complete = all(self._marked(before_heading + continuation) == reading for continuation in GOING_ON)
            answer = self.read(reading, example) if complete else self.find_whole(reading, example)
            if answer is not None:
                return answer
        before, _, last_line = before_heading.rstrip().rpartition("\n")
        hashed = self.hashed and not last_line.lstrip().startswith("#")
        for inner in chain(unwrapped(before_heading, False), unwrapped(before, hashed)):
            if (answer := self.read(inner, example)) is not None:
                return answer
        return self.find_whole(before_heading, example)

    def find_whole(self, text: str, example: Example) -> str | None:
        """The canonical answer in a response that was cut, outside of marks and wrappings; here none is sure."""
        return None

    def equal(self, first: str, second: str) -> bool:
        """Whether the answers are the same text."""
        return first == second

    def answers(self) -> tuple[str, ...] | None:
        """No closed set."""
        return None

    def choices(self, example: Example) -> tuple[str, ...] | None:
        """Those of `answers`."""
        return self.answers()

    def stops(self) -> tuple[str, ...]:
        """The heading of the next question, after a blank line, as it stands in a prompt with references."""
        return (f"\n\n{self.heading}:",)

    def notes(self, labeled: Sequence[Example]) -> tuple[str, ...]:
        """What a person should know of how the answer column is read, a line each; nothing."""
        return ()

    def claims(self, text: str) -> Iterator[str]:
        """What stands after each "Answer:" or "the answer is", from the last; never empty."""
        for match in reversed(deque(self._claim.finditer(text), maxlen=CLAIMS)):
            if claim := text[match.end() : match.end() + CLAIM_CHARS].strip():
                yield claim

    @property
    def _cue(self) -> str:
        return "Answer:" if self._ending is None else "Solution:"

    def _asked(self, example: Example) -> str:
        return f"{self.question(example)}\n{self._cue}"

    def _chat(self, example: Example, *parts: str) -> tuple[Message, ...]:
        content = "\n\n".join(part for part in (self.instruction, *parts) if part)
        context = example.context
        if self.config.system is not None and not (context and context[0]["role"] == "system"):
            context = (Message(role="system", content=self.config.system), *context)
        return (*context, Message(role="user", content=content))

    def _marked(self, text: str) -> str | None:
        """What the last match of `task.answer_pattern` captured; `None` without pattern or match."""
        if self._pattern is None:
            return None
        last = deque(self._pattern.finditer(text), maxlen=1)
        return (last[0][1] or "").strip() or None if last else None

    def _solution_ending(self, labeled: Sequence[Example]) -> str | None:
        """How worked solutions end, such as `#### <answer>`; `None` if the labeled rows hold bare answers."""
        for example in labeled if self._pattern is not None else ():
            text = (example.response or example.answer or "").strip()
            for match in deque(self._pattern.finditer(text), maxlen=1) if self._pattern else ():
                if text[: match.start()].strip() and match[1]:
                    start, end = match.start(1) - match.start(), match.end(1) - match.start()
                    return f"{match[0][:start]}<answer>{match[0][end:]}".strip()
        return None


def shortened(text: str) -> str:
    """The text quoted for an error message, at most 60 characters of it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"task.answer_pattern: {pattern!r} is not a regular expression: {error}") from error
    if not compiled.groups:
        raise ConfigError(f"task.answer_pattern: {pattern!r} has no group; put the answer's part in parentheses")
    return compiled
