"""The turns of a chat in a cell, as lists of objects or as what JSON, Python or NumPy print of them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from semievol.data.cells import shown, text
from semievol.data.literals import literal
from semievol.errors import DataError
from semievol.records import Message

_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "bing", "bard", "claude"), "assistant"
    ),
}
"""A name of a speaker, in lower case -> the role it has in chat templates."""
_TOOLS = {"tool", "function", "function_call", "tool_call", "tool_response", "observation", "ipython"}
_BEYOND = {"image", "images", "audio", "audios", "video", "videos"}
"""Keys of a turn that hold what no prompt can."""
_TEXT_PARTS = ("text", "input_text", "output_text")
_SPEAKER, _SAID = ("role", "from"), ("content", "value")
"""Keys of who speaks and what is said: OpenAI's and ShareGPT's."""
_HOLDERS = ("messages", "conversations")
"""Keys under which an object holds the turns."""
_MARK = re.compile(r"""['"](?:role|from)['"]\s*:""")
_MARK_SAID = re.compile(r"""['"](?:content|value)['"]\s*:""")


def items(value: Any) -> Sequence[Any]:
    """The turns as they stand in a cell, unread.

    Raises:
        DataError: it is no list of turns.
    """
    if isinstance(value, str):
        try:
            value = literal(value)
        except ValueError as error:
            raise DataError(f"the chat is {shown(value)}, and a list of turns is expected") from error
    if isinstance(value, Mapping):
        value = next((value[key] for key in _HOLDERS if isinstance(value.get(key), list | tuple)), [value])
    if not isinstance(value, list | tuple):
        raise DataError(f"the chat is {shown(value)}, and a list of turns is expected")
    return value


def chat_items(value: Any) -> Sequence[Any] | None:
    """The turns in a cell that may hold a text as well; `None` if it does.

    Raises:
        DataError: it looks like a chat and cannot be read as one.
    """
    if isinstance(value, list | tuple | Mapping):
        turns = items(value)
        return turns if not turns or any(map(_is_turn, turns)) else None
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{", "array(")):
        return None
    if not (_MARK.search(value) and _MARK_SAID.search(value)):
        return None
    try:
        turns = items(value)
    except DataError as error:
        raise DataError(
            f"{shown(value)} looks like a chat, and is neither JSON nor what Python prints; write the turns as JSON"
        ) from error
    return turns if any(map(_is_turn, turns)) else None


def question(turns: Sequence[Any]) -> tuple[tuple[Message, ...], str]:
    """The earlier turns and the user's last one; an assistant's turn at the end is the answer, and is not read.

    Raises:
        DataError: there is no such turn, one is neither system's, user's nor assistant's, or one holds more than text.
    """
    if turns and _by_assistant(turns[-1]):
        turns = turns[:-1]
    chat = [_turn(number, turn) for number, turn in enumerate(turns, start=1)]
    if not chat or chat[-1]["role"] != "user":
        ends = f"ends with a turn of the {chat[-1]['role']}" if chat else "is empty"
        raise DataError(f"the chat {ends}; a user's turn is expected before the answer")
    return tuple(chat[:-1]), chat[-1]["content"]


def context(turns: Sequence[Any]) -> tuple[Message, ...]:
    """All turns, if they are earlier ones; raises as `question`."""
    return tuple(_turn(number, turn) for number, turn in enumerate(turns, start=1))


def answer(turns: Sequence[Any]) -> str:
    """What the assistant says at the end; empty if it says nothing. Raises as `question`."""
    if not turns or not _by_assistant(turns[-1]):
        return ""
    silent = _first(turns[-1], _SAID) is None and not (turns[-1].get("tool_calls") or turns[-1].get("function_call"))
    return "" if silent else _turn(len(turns), turns[-1])["content"]


def _by_assistant(turn: Any) -> bool:
    return isinstance(turn, Mapping) and _ROLES.get(_name(turn)) == "assistant"


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and any(key in value for key in _SPEAKER) and any(key in value for key in _SAID)


def _name(turn: Mapping[Any, Any]) -> str:
    return str(_first(turn, _SPEAKER)).strip().lower()


def _first(turn: Mapping[Any, Any], keys: Sequence[str]) -> Any:
    """What stands under the first of the keys that holds something."""
    for key in keys:
        if (value := turn.get(key)) is not None:
            return value
    return None


def _turn(number: int, turn: Any) -> Message:
    where = f"turn {number} of the chat"
    if not isinstance(turn, Mapping):
        raise DataError(f"{where} is {shown(turn)}, and an object with 'role' and 'content' is expected")
    name = _name(turn)
    if turn.get("tool_calls") or turn.get("function_call") or name.replace("-", "_") in _TOOLS:
        raise DataError(
            f"{where} is a tool's or calls one, and tools are not supported; leave such rows out, or write what the "
            "tool said into the user's turn"
        )
    role = _ROLES.get(name)
    if role is None:
        raise DataError(f"{where} is of {_first(turn, _SPEAKER)!r}; known are {', '.join(_ROLES)}")
    if any(turn[key] for key in _BEYOND & turn.keys()):
        raise DataError(f"{where} holds more than text, which is not supported")
    content = _first(turn, _SAID)
    if content is None:
        raise DataError(f"{where}, the {role}'s, has no content")
    if isinstance(content, list | tuple):  # OpenAI's content parts
        content = "".join(_part(number, part) for part in content)
    try:
        return Message(role=role, content=text(content))
    except DataError as error:
        raise DataError(f"{where} {error}") from error


def _part(number: int, part: Any) -> str:
    if not isinstance(part, Mapping) or part.get("type") not in _TEXT_PARTS:
        raise DataError(f"turn {number} of the chat holds more than text, which is not supported")
    return text(part.get("text"))
