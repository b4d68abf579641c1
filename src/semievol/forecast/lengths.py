"""How long a response may be: what the labeled responses need, with room."""

import heapq
import math
from collections.abc import Iterator, Sequence
from functools import partial

from semievol.config import Config
from semievol.data import Dataset
from semievol.executors import Executor
from semievol.local.families import is_local
from semievol.progress import Reporter

ROOM = 1.5
"""Times the longest labeled response, for one that is longer than all that were seen."""
MORE, LEAST = 8, 16
"""Tokens on top, for a model that begins with "Answer:", and tokens at least."""
BYTES_PER_TOKEN = 3
"""Where the tokenizer is not at hand; tokens of words have four or more, those of digits and rare words fewer."""
LONGEST = 256
"""So many responses are counted in tokens: the longest in bytes, which scripts with many tokens a character have more
of."""


def fitted(
    config: Config, dataset: Dataset, executor: Executor | None = None, reporter: Reporter | None = None
) -> Config:
    """The config with a number for `collaborate.max_tokens: auto`.

    Args:
        executor: where the tokenizer is; in this process if it is not set.
    """
    if config.collaborate.max_tokens != "auto":
        return config
    texts = heapq.nlargest(LONGEST, _responses(dataset), key=_size)
    count = partial(token_counts, config)
    if executor is None:
        counts = count(texts)
    else:
        (counts,) = executor.map(count, [texts], reporter or Reporter())
    most = max(LEAST, math.ceil(ROOM * max(counts, default=0)) + MORE)
    section = config.collaborate.model_copy(update={"max_tokens": most})
    return config.model_copy(update={"collaborate": section})


def cut_note(config: Config, dataset: Dataset) -> Iterator[str]:
    """Says how many labeled responses are longer than what may be answered; nothing if all fit."""
    set_by_hand = {
        f"{section}.max_tokens": most
        for section, most in (
            ("collaborate", config.collaborate.max_tokens),
            ("evaluate", config.evaluate.max_tokens),
        )
        if isinstance(most, int)
    }
    if not set_by_hand:  # `auto` fits them all
        return
    counts = token_counts(config, [dataset.task.response(example) for example in dataset.labeled])
    for option, most in set_by_hand.items():
        if longer := sum(count >= most for count in counts):
            yield (
                f"{longer} of {len(counts)} labeled answers are longer than {option}, {most} tokens with the end of "
                f"the turn, and would be cut; {'set it to auto' if option.startswith('collaborate') else 'raise it'}"
            )


def token_counts(config: Config, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, by the model's tokenizer if the run has it; else estimated."""
    if not is_local(config):
        return [math.ceil(_size(text) / BYTES_PER_TOKEN) for text in texts]
    from semievol.models.loading import load_template

    template = load_template(config.model)
    opening = len(template.turn(None).opening)
    return [opening + len(template.answer(text)) for text in texts]


def _size(text: str) -> int:
    return len(text.encode())


def _responses(dataset: Dataset) -> Iterator[str]:
    """What a model is trained to say, and every label of a closed set, which may have no row."""
    yield from (dataset.task.response(example) for example in dataset.labeled)
    yield from dataset.task.answers() or ()
