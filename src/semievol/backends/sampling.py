"""Draws tokens so that a request's answer depends on its own seed and on nothing else."""

from collections.abc import Sequence

import numpy as np
import torch

from semievol.records import Sampling


def draw(logits: torch.Tensor, samplings: Sequence[Sampling], step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The next token of each row and its log-probability at temperature 1, both (B,).

    Sampling is by the Gumbel-max trick, argmax(log p / T + Gumbel noise), with noise from the request's own seed and
    the step: neighbours in the batch and the device's random state have no part in it.

    Args:
        logits: (B, V), of any float type.
        step: tokens that have been drawn before.
    """
    logprobs = logits.float().log_softmax(dim=-1)  # (B, V)
    tokens = logprobs.argmax(dim=-1)  # (B,)
    for row, sampling in enumerate(samplings):
        if sampling.temperature > 0:
            scores = logprobs[row] / sampling.temperature  # (V,)
            if sampling.top_p < 1:
                scores = _nucleus(scores, sampling.top_p)
            tokens[row] = (scores + _gumbel(sampling.seed, step, len(scores)).to(scores.device)).argmax()
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


def _nucleus(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """`scores` (V,) with all but the fewest likeliest tokens that hold a share `top_p` at minus infinity."""
    probabilities, order = scores.softmax(dim=-1).sort(descending=True, stable=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    return scores.index_fill(0, order[before >= top_p], -torch.inf)


def _gumbel(seed: int, step: int, size: int) -> torch.Tensor:
    """Standard Gumbel noise, minus the log of exponential noise, (size,) in float32.

    From numpy, whose seeding takes whole numbers of any size; torch's CPU generator drops all but 32 bits.
    """
    noise = np.random.default_rng((seed, step)).standard_exponential(size, dtype=np.float32)
    return -torch.from_numpy(np.maximum(noise, np.finfo(np.float32).tiny)).log()
