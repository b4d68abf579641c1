"""What a chat looks like in tokens, the same for training and answering: the model's own template decides.

The text of messages is text: a `<|im_end|>` in the user's data has the tokens of these characters, and not the id with
which the template ends a turn.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from jinja2 import TemplateError

from semievol.config import ModelConfig
from semievol.errors import DataError, first_line
from semievol.records import Message

_BREAKS = "\ue000\x1a\t "
"""Characters one of which keeps the tokenizer from seeing a control token in a text; the first has no meaning."""
_TODAY = re.compile(r"strftime_now\(\s*(?P<quote>[\"'])(?P<format>[^\"']*)(?P=quote)\s*\)")
_THINKING = re.compile(r"(?P<open><(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷)\s*\Z")
_PROBE = "the-answer-itself"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the template writes around an answer."""

    opening: tuple[int, ...]
    """After the prompt and before the answer: an empty thought, the name of a channel; mostly nothing."""
    opening_text: str
    end: int
    """The token that ends the turn."""


class ChatTemplate:
    """A tokenizer with its chat template.

    Args:
        tokenizer: of transformers, with a template.
        config: whose `chat_template_kwargs` and `date` the template is given.
    """

    def __init__(self, tokenizer: Any, config: ModelConfig) -> None:
        self.tokenizer = tokenizer
        self._config = config
        self._template = dated(tokenizer.get_chat_template(), config.date)
        self.turn = lru_cache(maxsize=64)(self._turn)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the chat up to where the model goes on.

        Raises:
            DataError: the template refuses the chat.
        """
        return self._tokens(self.rendered(self._broken(messages)))

    def turn_of(self, messages: Sequence[Message]) -> Turn:
        """What stands around the answer to a chat."""
        first = messages[0] if messages else None
        return self.turn(first["content"] if first and first["role"] == "system" else None)

    def answer(self, text: str) -> list[int]:
        """Token ids of an answer, without what stands around it."""
        return self._tokens(self._marks.sub(_break, text))

    def marks_in(self, messages: Sequence[Message]) -> list[str]:
        """The control tokens that are spelled out in the text of a chat."""
        return [mark for message in messages for mark in self._marks.findall(message["content"])]

    @cached_property
    def folds_system(self) -> bool:
        """Whether the template refuses a system's text, which then stands before the user's first."""
        question = Message(role="user", content="question")
        try:
            self._render([Message(role="system", content="words"), question])
        except TemplateError:
            try:
                self._render([question])
            except TemplateError:
                return False
            return True
        return False

    @cached_property
    def is_usual(self) -> bool:
        """Whether a whole chat begins with the prompt that the template makes for its answer, or opens a thought."""
        before, _, chat = self._around(None)
        return chat.startswith(before) or _THINKING.search(before) is not None

    def rendered(self, messages: Sequence[Message]) -> str:
        """The text that the template makes of a chat, with what asks for the answer.

        Raises:
            DataError: the template refuses the chat; says in one line why.
        """
        try:
            return self._render(self._foldable(messages))
        except TemplateError as error:
            raise DataError(
                f"model.name: the chat template of {self._config.name} refuses the chat: {first_line(error)}"
            ) from error

    def _render(self, messages: Sequence[Message], asks: bool = True) -> str:
        options = dict(self._config.chat_template_kwargs)
        text: str = self.tokenizer.apply_chat_template(
            list(messages), chat_template=self._template, add_generation_prompt=asks, tokenize=False, **options
        )
        return text

    def _foldable(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The chat, its system's text before the user's first if the template takes no system."""
        if not messages or messages[0]["role"] != "system" or not self.folds_system:
            return messages
        system, *rest = messages
        at = next((number for number, message in enumerate(rest) if message["role"] == "user"), None)
        if at is None:
            return messages
        parts = [part for part in (system["content"], rest[at]["content"]) if part]
        return [*rest[:at], Message(role="user", content="\n\n".join(parts)), *rest[at + 1 :]]

    def _around(self, system: str | None) -> tuple[str, str, str]:
        """A prompt, the whole chat's end after the answer, and the whole chat."""
        chat = [Message(role="user", content="question")]
        if system is not None:
            chat = [*self._foldable([Message(role="system", content=system), *chat])]
        before = self._render(chat)
        try:
            chat_text = self._render([*chat, Message(role="assistant", content=_PROBE)], asks=False)
        except TemplateError:
            chat_text = before + _PROBE
        return before, chat_text.rpartition(_PROBE)[2], chat_text

    def _turn(self, system: str | None) -> Turn:
        try:
            before, after, chat_text = self._around(system)
        except TemplateError:  # the chat itself will be refused, with its row
            return Turn((), "", int(self.tokenizer.eos_token_id))
        opening = ""
        if chat_text.startswith(before) and _PROBE in chat_text[len(before) :]:
            opening = chat_text[len(before) :].partition(_PROBE)[0]
        elif thought := _THINKING.search(before):  # the template drops the thoughts of answers: this one has none
            opening = f"\n{thought['open'].replace('<', '</').replace('[', '[/').replace('◁', '◁/')}\n\n"
        return Turn(tuple(self._plain_tokens(opening)), opening, self._end(after))

    def _end(self, after: str) -> int:
        """The first control token behind an answer, else the end of text.

        They differ in some models: Qwen's base models end a turn with <|im_end|> and a text with <|endoftext|>.
        """
        ids = self._plain_tokens(after.lstrip())
        special = {id_ for id_, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return ids[0] if ids and ids[0] in special else int(self.tokenizer.eos_token_id)

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        """The spelling of any control token."""
        special = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        spelled = sorted((token for token in special if len(token) > 1), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, spelled)) or r"(?!)")

    def _broken(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The chat with a break in each control token that its text spells out."""
        if not any(self._marks.search(message["content"]) for message in messages):
            return messages
        return [
            Message(role=message["role"], content=self._marks.sub(_break, message["content"])) for message in messages
        ]

    def _plain_tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _tokens(self, text: str) -> list[int]:
        """The tokens of a text, without those of the breaks in it.

        Raises:
            DataError: this tokenizer does not tell which those are.
        """
        if _BREAKS[0] not in text:
            return self._plain_tokens(text)
        for placeholder in _BREAKS if self.tokenizer.is_fast else ():
            if (ids := self._unbroken(text, placeholder)) is not None:
                return ids
        raise DataError("the text spells out a control token of the model, which this tokenizer cannot take as text")

    def _unbroken(self, text: str, placeholder: str) -> list[int] | None:
        """The tokens of a text in which `placeholder` stands for each break, those of the breaks aside.

        `None` if a token is of a break and of what stands beside it, or a character is lost with it.
        """
        breaks = {at for at, letter in enumerate(text) if letter == _BREAKS[0]}
        encoding = self.tokenizer(
            text.replace(_BREAKS[0], placeholder), add_special_tokens=False, return_offsets_mapping=True
        )
        ids, covered = [], set(breaks)
        for id_, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
            within = breaks.intersection(range(start, end))
            if within and len(within) < end - start:
                return None
            covered.update(range(start, end))
            if not within:
                ids.append(id_)
        uncovered = set(range(len(text))) - covered
        return ids if all(text[at].isspace() for at in uncovered) else None


def _break(mark: re.Match[str]) -> str:
    """The spelling of a control token with a break behind its first character."""
    return mark[0][0] + _BREAKS[0] + mark[0][1:]


def dated(template: str, date: str | None) -> str:
    """The template, told that today is `date` (YYYY-MM-DD)."""
    if date is None:
        return template
    day = datetime.date.fromisoformat(date)
    return _TODAY.sub(lambda match: repr(day.strftime(match["format"])), template)


def asks_for_the_date(template: str) -> bool:
    """Whether what the template writes depends on the day."""
    return _TODAY.search(template) is not None
