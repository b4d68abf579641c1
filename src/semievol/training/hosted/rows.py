"""The rows as a service takes them: chats with their answers, one JSON object a line, checked before the upload."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from semievol.backends.service.answers import estimated_tokens
from semievol.config.places import Place
from semievol.errors import TrainingError
from semievol.records import Message, Request, TrainingExample
from semievol.training.hosted import Rules


@dataclass(frozen=True)
class Written:
    """A file of rows."""

    rows: int
    tokens: int
    """Of prompts and answers, one pass; estimated."""


def write_rows(path: Place, examples: Sequence[TrainingExample], rules: Rules) -> Written:
    """Writes the rows that train, each a chat that ends with its answer.

    Raises:
        TrainingError: the provider would not take them, or not train on them as asked; names the row.
    """
    if len(examples) < rules.least_rows:
        raise TrainingError(
            f"{rules.name} trains on {rules.least_rows} rows at least and there are {len(examples)}; "
            "label more, or train on this machine with training.kind local"
        )
    tokens = size = 0
    with path.open("wb") as handle:
        for example in examples:
            if fault := _fault(example, rules):
                raise TrainingError(f"row {example.id}: {fault}")
            chat: list[Message] = [*example.messages, {"role": "assistant", "content": example.response}]
            tokens += estimated_tokens(Request("", example.messages, "base", response=example.response))
            size += handle.write(json.dumps({"messages": chat}, ensure_ascii=False).encode() + b"\n")
    if size > rules.most_bytes:
        raise TrainingError(
            f"the rows are {size / 2**20:,.4g} MiB and {rules.name} takes {rules.most_bytes / 2**20:,.4g} at most; "
            "lower select.theta or set data.max_prompt_words"
        )
    return Written(len(examples), tokens)


def _fault(example: TrainingExample, rules: Rules) -> str | None:
    """What is wrong with a row, in words."""
    if example.weight != 1.0:
        return (
            f"{rules.name} gives every row the same weight and this one has {example.weight:g}; train on this machine"
        )
    if not example.response.strip():
        return "the answer is empty"
    for number, message in enumerate(example.messages):
        if message["role"] not in ("system", "user", "assistant"):
            return f"message {number + 1} has the role {message['role']!r}, which is not system, user or assistant"
        if message["role"] == "system" and number:
            return f"message {number + 1} is a system message, which can only be the first"
        if not message["content"].strip():
            hint = "; leave task.system out" if message["role"] == "system" else ""
            return f"message {number + 1}, of the {message['role']}, is empty{hint}"
    turns = [message["role"] for message in example.messages if message["role"] != "system"]
    if not turns or turns[-1] != "user":
        return "the last message before the answer is not the user's"
    if rules.alternating and turns != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        return f"{rules.name} wants user and assistant to take turns, and these do not"
    return None
