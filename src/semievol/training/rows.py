"""Rows to train on: chats in tokens, and batches of them.

Chats are tokenised here and not by TRL, which trains on whatever the chat template writes after the answer, a line
break for instance, and would tokenise prompt and answer in one piece; the backend sees neither.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from semievol.data.table import located
from semievol.errors import TrainingError
from semievol.local.batches import Tokens, tree
from semievol.models.chat import ChatTemplate
from semievol.records import TrainingExample


@dataclass(frozen=True, slots=True)
class TokenisedRow:
    """A training example in tokens."""

    prompt: Tokens
    response: Tokens
    """The answer and the end of the turn."""
    weight: float

    @property
    def kind(self) -> tuple[str, bool, int]:
        """Any two rows can share a batch."""
        return "", True, 0

    def as_dict(self) -> dict[str, Any]:
        """The columns of the training set."""
        return {"prompt_ids": self.prompt, "response_ids": self.response, "weight": self.weight}

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt) + len(self.response)


def tokenised(template: ChatTemplate, examples: Sequence[TrainingExample], limit: int) -> list[TokenisedRow]:
    """The tokens of each chat: the backend's prompt, then the assistant's turn as the model's template writes it.

    That is what stands before an answer (an empty thought, the name of a channel), the answer, the end of the turn.

    Raises:
        DataError: the template refuses a chat; names the example.
        TrainingError: there are no examples, or one is longer than `limit` or has an impossible weight.
    """
    if not examples:
        raise TrainingError("there are no examples to train on")
    rows = []
    for example in examples:
        if not (math.isfinite(example.weight) and example.weight >= 0):
            raise TrainingError(f"example {example.id}: the weight {example.weight} is not a number of at least 0")
        with located(f"example {example.id}"):
            prompt, answer = template.prompt(example.messages), template.answer(example.response)
        turn = template.turn_of(example.messages)
        row = TokenisedRow(tuple(prompt), (*turn.opening, *answer, turn.end), example.weight)
        if row.length > limit:
            raise TrainingError(
                f"example {example.id}: {row.length} tokens, and the model takes {limit}; "
                "shorten the prompts with data.max_prompt_words"
            )
        rows.append(row)
    return rows


class Collator:
    """Batches of rows, with the answers' tokens and weights in the order of the batch.

    Args:
        share: whether prompts may share their beginnings.
        blank: the row that an empty batch computes, for the other processes' sake; it counts for nothing.
    """

    def __init__(self, share: bool, blank: TokenisedRow) -> None:
        self._share = share
        self._blank = dataclasses.replace(blank, weight=0.0)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The batch of columns as they are in the training set, see `TokenisedRow.as_dict`."""
        return self.batch([TokenisedRow(tuple(r["prompt_ids"]), tuple(r["response_ids"]), r["weight"]) for r in rows])

    def batch(self, real: Sequence[TokenisedRow]) -> dict[str, Any]:
        """The batch, its answers' tokens as labels, and their weights."""
        batch = tree(real or [self._blank], share=self._share)
        weights = [row.weight for row in batch.rows for _ in row.response]
        return {
            "input_ids": torch.tensor([token for row in batch.rows for token in (*row.prompt, *row.response)]),
            # Trainer counts answer tokens from the second label on, taking the first for a token without a prediction.
            "labels": torch.tensor([-100, *(token if real else -100 for row in batch.rows for token in row.response)]),
            "weights": torch.tensor(weights),
            "batch": batch,
        }
