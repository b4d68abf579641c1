"""What flows through the stages: examples in, responses of models, pseudo-labels out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict


class Message(TypedDict):
    """One turn of a chat, in the shape that chat templates and hosted APIs take."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the user's data."""

    id: str
    """Unique within labeled, unlabeled and test together."""
    prompt: str
    """The question, story or input as the user wrote it, without instruction."""
    answer: str | None = None
    """The canonical answer (a letter, a name, a number, a text); `None` if there is no label."""
    response: str | None = None
    """The whole text that trains the model, if it is more than the answer (worked solutions)."""
    options: tuple[str, ...] = ()
    """The choices of a multiple-choice question, in order; A is the first."""
    context: tuple[Message, ...] = ()
    """Earlier turns of a chat, system message included, before `prompt`."""
    category: str | None = None
    """The subject or group that results are broken down by."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a response is drawn."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus size; 1 leaves the distribution as it is."""
    max_tokens: int = 16
    """The longest response, in tokens."""
    seed: int = 0
    """Seeds this request alone, so that its answer does not depend on its neighbours."""
    stop: tuple[str, ...] = ()
    """Texts with which the response is over; none of them is part of it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model; with `response` set, a text to score instead."""

    id: str
    """Unique in the stage; comes back on the response."""
    messages: tuple[Message, ...]
    """The chat up to and without the answer."""
    weights: str
    """The name of the weights that answer: `base`, `warm`, `evolved`."""
    sampling: Sampling = Sampling()
    response: str | None = None
    """A given response: nothing is generated, its token log-probabilities are computed."""


Finish = Literal["stop", "length", "scored", "error"]
"""How a response ended: by itself, cut for its length, given and scored, or not at all."""

ROUNDING = 1e-2
"""Nats by which rounding may carry a log-probability above 0."""


def possible(logprob: float) -> bool:
    """Whether a number can be the log-probability of a token that was said: finite, and at most 0 but for rounding."""
    return math.isfinite(logprob) and logprob <= ROUNDING


def before_stop(text: str, stop: Sequence[str]) -> str | None:
    """What stands before the first of the texts that end a response; `None` if there is none of them."""
    positions = [at for ending in stop if (at := text.find(ending)) >= 0]
    return text[: min(positions)] if positions else None


@dataclass(frozen=True, slots=True)
class Response:
    """What a model said to one request."""

    id: str
    text: str
    logprobs: tuple[float, ...] | None
    """log P of each token of `text` under the unmodified distribution (temperature 1), without the
    end-of-turn token; `None` if the engine gives none, or one that is no log-probability (see `possible`)."""
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    error: str | None = None
    """Why there is no answer, if `finish` is `error`."""
    permanent: bool = False
    """An error that would come again, such as a prompt that is too long: the request is not asked again."""

    def __post_init__(self) -> None:
        if self.logprobs is not None and not all(map(possible, self.logprobs)):
            object.__setattr__(self, "logprobs", None)

    @property
    def mean_nll(self) -> float | None:
        """Mean negative log-likelihood per token, in nats (Eq. 6); `None` without log-probabilities or tokens."""
        return -sum(self.logprobs) / len(self.logprobs) if self.logprobs else None


@dataclass(frozen=True, slots=True)
class Collaborator:
    """One configuration that answers every unlabeled prompt (Eq. 4)."""

    weights: Literal["base", "warm"]
    """Where answers are scored, `warm` is M_warm and the adapters of `warmup.folds` together."""
    examples: int
    """How many retrieved labeled examples it is shown."""

    @property
    def name(self) -> str:
        """For example `warm+2`."""
        return f"{self.weights}+{self.examples}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One collaborator's answer to one unlabeled prompt."""

    collaborator: str
    text: str
    answer: str | None
    """The answer read from `text`; `None` if it has none."""
    mean_nll: float | None
    """Under the collaborator's own weights and prompt, in nats per token."""
    references: tuple[str, ...]
    """Ids of the labeled examples it was shown, nearest first."""
    finish: Finish = "stop"
    """How the response ended; one that was cut trains no model."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the collaborators said to one unlabeled prompt (Eq. 4)."""

    id: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class ScoredCandidates(Candidates):
    """How likely each answer of a closed set is to a row, instead of answers that are drawn."""

    probabilities: tuple[tuple[float, ...], ...]
    """Of each collaborator, for each answer that can be given, in their order; they sum to 1. Empty if it is not known,
    because a request has failed."""


Origin = Literal["unanimous", "justified", "majority", "single", "pooled", "none"]
"""How an answer was settled: all agreed, self-justification, a vote, one collaborator only, the likeliest by all views
together, or no answer."""


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """What the collaborators' answers to one unlabeled prompt were settled on, and how sure M_warm is of it."""

    id: str
    answer: str | None
    response: str | None
    """The pseudo-response that would train the model (y in Eq. 9)."""
    origin: Origin
    agreement: float
    """Share of the collaborators that gave `answer`, 0 to 1."""
    mean_nll: float | None
    """H of Eq. 6: mean negative log-likelihood per token of `response` under M_warm given the plain prompt."""
    h_from: str | None
    """How H was had: `collaborator`, `scored`, `asked`, or why it is unknown; `None` without a response."""
    justification: str | None
    """What M_warm said when shown the candidates; `None` if it was not asked."""
    justification_finish: str | None
    """How the justification ended."""
    candidates: tuple[Candidate, ...]
    probability: float | None
    """Calibrated: that `answer` is right, by all views together; `None` if none of them was asked."""


@dataclass(frozen=True, slots=True)
class PseudoLabel(FinalAnswer):
    """The fate of one unlabeled row, kept or not, with everything that led to it."""

    kept: bool
    reason: str
    """Why the row was kept or dropped, in words."""
    round: int
    """From 1."""
    weight: float
    """How much the row counts in the training, against 1 for a labeled one; 0 if it is not kept."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What all views together say of a labeled row that none of them has seen."""

    id: str
    truth: str
    answer: str
    right: bool
    probability: float
    """Calibrated: that `answer` is right."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to one test row."""

    id: str
    truth: str | None
    answer: str | None
    """As it was read from `text`; `None` if it could not be."""
    right: bool | None
    """`None` if the truth is not known."""
    category: str | None
    text: str
    mean_nll: float | None
    """H of the response, in nats per token; `None` without log-probabilities."""
    probability: float | None
    """Of the whole response, 0 to 1."""
    finish: Finish


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One chat that trains a model; the loss is on `response` alone."""

    id: str
    messages: tuple[Message, ...]
    response: str
    weight: float = 1.0
