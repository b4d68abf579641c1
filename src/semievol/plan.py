"""What a run will do, before it does it: requests, tokens, steps, and how long that takes here."""

import dataclasses
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semievol.backends import Backend, open_backend
from semievol.config import Config
from semievol.data import Dataset
from semievol.errors import DataError
from semievol.records import Example, Request, Sampling
from semievol.stages.collaborate import collaborators

Lengths = npt.NDArray[np.int32]

TRAINING_COST = 3.0
"""A training step's arithmetic over a forward pass: forward, and the backward pass through activations and weights.
LoRA skips the frozen weights' gradients and small batches lose what that wins."""


_NOT_TIMED = ("fake", "openai")
"""Backends whose speed says nothing, or whose answers cost money."""


@dataclass(frozen=True)
class Step:
    """One stage's share of the work."""

    stage: str
    requests: int
    """Questions to a model; rows of training in a training stage."""
    tokens: int
    """Tokens that are read or trained on, all epochs together, padding aside."""
    steps: int = 0
    """Optimizer steps."""
    seconds: float | None = None
    """Estimated from a short measurement; `None` where there was none."""


@dataclass(frozen=True)
class Plan:
    """What `semievol check` prints."""

    steps: tuple[Step, ...]
    prompt_tokens: tuple[int, int]
    """Median and longest plain prompt, in tokens."""
    with_examples: int
    """The longest prompt that retrieved examples can make, in tokens; a collaborator whose prompt does not fit gives
    no answer to that row."""
    limit: int
    """What prompt and response may be long together."""

    @property
    def seconds(self) -> float | None:
        """The estimate for the whole run."""
        known = [step.seconds for step in self.steps if step.seconds is not None]
        return sum(known) if len(known) == len(self.steps) else None


def make_plan(config: Config, dataset: Dataset, *, measure: bool = False) -> Plan:
    """The plan of a run, with times where `measure` allows a few seconds of the engine.

    Raises:
        DataError: a prompt does not fit into the model with its response; names the row.
    """
    backend = open_backend(config, {})
    try:
        lengths = _check_lengths(config, dataset, backend)
        rate = _rate(config, dataset, backend) if measure and config.backend.kind not in _NOT_TIMED else None
        steps = _steps(config, dataset, lengths)
        if rate is not None:
            steps = [
                dataclasses.replace(s, seconds=s.tokens * (TRAINING_COST if s.steps else 1.0) / rate) for s in steps
            ]
        everything = np.sort(np.concatenate(list(lengths.values())))
        middle = int(everything[len(everything) // 2]) if len(everything) else 0
        longest = int(everything[-1]) if len(everything) else 0
        shown = max((one.examples for one in collaborators(config)), default=0)
        with_examples = int(lengths["unlabeled"].max(initial=0))
        with_examples += int(np.sort(lengths["labeled"])[-shown:].sum()) if shown else 0
        return Plan(tuple(steps), (middle, longest), with_examples, backend.max_length())
    finally:
        backend.close()


def _check_lengths(config: Config, dataset: Dataset, backend: Backend) -> dict[str, Lengths]:
    """Tokens of every plain prompt, by split, each (N,)."""
    limit, room = backend.max_length(), config.collaborate.max_tokens

    def tokens(name: str, example: Example) -> int:
        count = backend.prompt_tokens(Request("", dataset.task.messages(example), "base"))
        if count + room > limit:
            raise DataError(
                f"{name} row {example.id}: {count} prompt tokens and {room} for the response do not fit into the "
                f"model's {limit}; set data.max_prompt_words, or take a model with a longer context"
            )
        return count

    splits = {"labeled": dataset.labeled, "unlabeled": dataset.unlabeled, "test": dataset.test}
    return {
        name: np.fromiter((tokens(name, example) for example in examples), np.int32)
        for name, examples in splits.items()
    }


def _steps(config: Config, dataset: Dataset, lengths: dict[str, Lengths]) -> list[Step]:
    labeled, unlabeled, test = (int(lengths[name].sum()) for name in ("labeled", "unlabeled", "test"))
    rows = len(dataset.unlabeled)
    steps = []
    if config.warmup.enabled:
        steps.append(_training("warmup", config, len(dataset.labeled), labeled))
    if rows:
        crew = collaborators(config)
        shown = sum(one.examples for one in crew)
        example = labeled / max(len(dataset.labeled), 1)
        steps.append(Step("collaborate", rows * len(crew), round(unlabeled * len(crew) + rows * shown * example)))
        # At most: every row is asked again, and every answer is scored.
        asks = 1 if config.justify.mode != "majority" and len(crew) > 1 else 0
        steps.append(Step("justify", rows * (1 + asks), unlabeled * (1 + asks)))
        kept = config.select.theta if config.select.enabled else 1.0
        own = config.evolve.include_labeled
        steps.append(
            _training(
                "evolve",
                config,
                round(rows * kept) + own * len(dataset.labeled),
                round(unlabeled * kept) + own * labeled,
            )
        )
    if dataset.test:
        models = len(config.evaluate.models)
        steps.append(Step("evaluate", len(dataset.test) * models, test * models))
    return steps


def _training(stage: str, config: Config, rows: int, tokens: int) -> Step:
    recipe = config.recipe("warmup" if stage == "warmup" else "evolve")
    batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    return Step(stage, rows, tokens * recipe.num_train_epochs, math.ceil(rows / batch) * recipe.num_train_epochs)


def _rate(config: Config, dataset: Dataset, backend: Backend) -> float:
    """Prompt tokens a second of this engine on this machine, from two small batches of the user's prompts."""
    examples: Sequence[Example] = dataset.unlabeled or dataset.test or dataset.labeled
    sample = random.Random(0).sample(range(len(examples)), min(len(examples), 32))
    requests = [
        Request(str(i), dataset.task.messages(examples[at]), "base", Sampling(max_tokens=1))
        for i, at in enumerate(sample)
    ]
    for _ in backend.generate(requests[:4]):  # loads and warms up
        pass
    started = time.monotonic()
    tokens = sum(response.prompt_tokens for response in backend.generate(requests))
    return tokens / (time.monotonic() - started)
