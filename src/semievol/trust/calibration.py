"""Temperature: confidence that is as high as accuracy (Guo et al. 2017, arXiv 1706.04599)."""

import math

import numpy as np
from scipy.optimize import minimize_scalar

from semievol.trust import Array

PRIOR = 0.01
"""What the square of log T costs, in nats per row: some rows that are all right would make T as small as it can be."""
BOUNDS = (-2.0, 3.0)
"""Of log T."""


def temperature(log_probabilities: Array, truth: Array) -> float:
    """The T for which softmax(log p / T) has the least log-loss on rows whose answers are known.

    Args:
        log_probabilities: (N, K), -inf where a row has no such answer.
        truth: the column of each row's true answer, (N,).
    """

    def loss(log_t: float) -> float:
        return log_loss(tempered(log_probabilities, math.exp(log_t)), truth) + PRIOR * log_t**2

    return math.exp(minimize_scalar(loss, bounds=BOUNDS, method="bounded").x)


def tempered(log_probabilities: Array, by: float = 1.0) -> Array:
    """Log softmax(log p / T) of each row, (N, K)."""
    divided = log_probabilities / by
    peak = divided.max(axis=1, keepdims=True)
    total: Array = divided - peak - np.log(np.exp(divided - peak).sum(axis=1, keepdims=True))
    return total


def log_loss(log_probabilities: Array, truth: Array) -> float:
    """The mean of -log p of the true answer, in nats."""
    return -float(log_probabilities[np.arange(len(truth)), truth].mean())
