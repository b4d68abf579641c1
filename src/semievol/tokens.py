"""How many tokens a chat has for a model whose tokenizer is not at hand."""

from collections.abc import Sequence

from semievol.records import Message

CHARACTERS = 4
"""Characters of English text in a token, about, with the tokenizers of today's large models."""
OVERHEAD = 4
"""Tokens that frame a message."""


def estimate(messages: Sequence[Message]) -> int:
    """Tokens of a chat, estimated: a quarter of its ASCII characters, one for each other, and each message's frame."""
    total = 0
    for message in messages:
        text = message["content"]
        others = sum(not character.isascii() for character in text) if not text.isascii() else 0
        total += OVERHEAD + others + -(-(len(text) - others) // CHARACTERS)
    return total
