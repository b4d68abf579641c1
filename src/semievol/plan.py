"""What a run will do, before it does it: requests, tokens, steps, how long that takes and what services charge."""

import dataclasses
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from semievol.backends import Backend, open_backend
from semievol.config import Config
from semievol.costs import Paid, without_price
from semievol.data import Dataset
from semievol.errors import DataError
from semievol.prices import Price, dollars, price_of
from semievol.records import Example, Request, Sampling
from semievol.stages.collaborate import collaborators
from semievol.training.hosted import open_provider

Lengths = npt.NDArray[np.int32]

TRAINING_COST = 3.0
"""A training step's arithmetic over a forward pass: forward, and the backward pass through activations and weights.
LoRA skips the frozen weights' gradients and small batches lose what that wins."""
ANSWER_SECONDS = 1.0
"""What a service takes for an answer, about: an assumption, for nothing is asked of it before the run."""


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
    answers: int = 0
    """Tokens of answers: at most, or those that are trained on."""
    seconds: float | None = None
    """Estimated from a short measurement, or from a service's limits; `None` where there is no telling."""
    dollars: float | None = None
    """What services charge at most; `None` where nothing is paid or the price is not known."""


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
    notes: tuple[str, ...] = ()
    """What the figures rest on, and what a user should know before paying."""

    @property
    def seconds(self) -> float | None:
        """The estimate for the whole run, without the stages of which there is no telling."""
        known = [step.seconds for step in self.steps if step.seconds is not None]
        return sum(known) if known else None

    @property
    def dollars(self) -> float | None:
        """What services charge for the whole run at most; `None` where a price is missing or nothing is paid."""
        known = [step.dollars for step in self.steps if step.dollars is not None]
        return sum(known) if known and len(known) == len(self.steps) else None


def make_plan(config: Config, dataset: Dataset, *, measure: bool = False) -> Plan:
    """The plan of a run, with times where `measure` allows a few seconds of the engine.

    Raises:
        DataError: a prompt does not fit into the model with its response; names the row.
    """
    backend = open_backend(config, {})
    try:
        lengths = _check_lengths(config, dataset, backend)
        paid = isinstance(backend, Paid)
        price = price_of(config) if paid or config.training.kind == "hosted" else None
        steps = _steps(config, dataset, lengths, _response_tokens(dataset, backend), price)
        if paid:
            steps = [dataclasses.replace(step, seconds=_service_seconds(config, step)) for step in steps]
        elif measure and config.backend.kind != "fake":
            rate = _rate(config, dataset, backend)
            steps = [
                dataclasses.replace(s, seconds=s.tokens * (TRAINING_COST if s.steps else 1.0) / rate) for s in steps
            ]
        everything = np.sort(np.concatenate(list(lengths.values())))
        middle = int(everything[len(everything) // 2]) if len(everything) else 0
        longest = int(everything[-1]) if len(everything) else 0
        shown = max((one.examples for one in collaborators(config)), default=0)
        with_examples = int(lengths["unlabeled"].max(initial=0))
        with_examples += int(np.sort(lengths["labeled"])[-shown:].sum()) if shown else 0
        notes = [*_criterion_note(config)]
        if paid or config.training.kind == "hosted":
            notes += _cost_notes(config, price, steps)
        return Plan(tuple(steps), (middle, longest), with_examples, backend.max_length(), tuple(notes))
    finally:
        backend.close()


def _criterion_note(config: Config) -> Iterator[str]:
    """What rows will be kept by, where that is not plain."""
    if config.backend.kind == "openai" and config.select.enabled and config.select.criterion == "auto":
        if config.backend.service.logprobs is False:
            yield "rows are kept by agreement: backend.service.logprobs is false, so there is no H"
        else:
            yield "rows are kept by H, or by agreement if the service gives no log-probabilities"


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


def _response_tokens(dataset: Dataset, backend: Backend) -> float:
    """Mean tokens of the labeled rows' responses; those of pseudo-labels are taken to be as long."""
    total = 0
    for example in dataset.labeled:
        asked = Request("", dataset.task.messages(example), "base")
        answered = dataclasses.replace(asked, response=dataset.task.response(example))
        total += backend.prompt_tokens(answered) - backend.prompt_tokens(asked)
    return total / max(len(dataset.labeled), 1)


def _steps(
    config: Config, dataset: Dataset, lengths: dict[str, Lengths], response: float, price: Price | None
) -> list[Step]:
    """The stages' shares; `response` is the mean length of what is trained on, in tokens."""
    labeled, unlabeled, test = (int(lengths[name].sum()) for name in ("labeled", "unlabeled", "test"))
    rows, longest = len(dataset.unlabeled), config.collaborate.max_tokens
    warm = "warm" if config.warmup.enabled else "base"
    steps = []
    if config.warmup.enabled:
        steps.append(_training("warmup", config, len(dataset.labeled), labeled, response, price))
    if rows:
        crew = collaborators(config)
        example = labeled / max(len(dataset.labeled), 1)
        shares = [(one.weights, rows, round(unlabeled + rows * one.examples * example)) for one in crew]
        steps.append(_asking("collaborate", shares, longest, price))
        # At most: every row is asked again, and every answer is scored; a service scores by answering once more.
        asks = 1 if config.justify.mode != "majority" and len(crew) > 1 else 0
        shown = round(unlabeled + rows * len(crew) * response)
        steps.append(_asking("justify", [(warm, rows, shown)] * asks + [(warm, rows, unlabeled)], longest, price))
        kept = config.select.theta if config.select.enabled else 1.0
        own = config.evolve.include_labeled
        trained = round(rows * kept) + own * len(dataset.labeled)
        steps.append(_training("evolve", config, trained, round(unlabeled * kept) + own * labeled, response, price))
    if dataset.test:
        groups = [(model, len(dataset.test), test) for model in config.evaluate.models]
        steps.append(_asking("evaluate", groups, config.evaluate.max_tokens or longest, price))
    return steps


def _asking(stage: str, asked: Sequence[tuple[str, int, int]], longest: int, price: Price | None) -> Step:
    """Requests: for each group the weights that answer, how many, and the tokens of their prompts."""
    paid: list[float | None] = []
    for weights, requests, tokens in asked:
        per_input, per_output = price.answering(weights) if price else (None, None)
        paid += [dollars(tokens, per_input), dollars(requests * longest, per_output)]
    known = [each for each in paid if each is not None]
    return Step(
        stage,
        requests=sum(requests for _, requests, _ in asked),
        tokens=sum(tokens for _, _, tokens in asked),
        answers=longest * sum(requests for _, requests, _ in asked),
        dollars=sum(known) if len(known) == len(paid) and price else None,
    )


def _training(
    stage: Literal["warmup", "evolve"], config: Config, rows: int, tokens: int, response: float, price: Price | None
) -> Step:
    recipe = config.recipe(stage)
    batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    epochs = recipe.num_train_epochs
    tokens, answers = tokens * epochs, round(rows * response) * epochs
    return Step(
        stage,
        rows,
        tokens,
        steps=math.ceil(rows / batch) * epochs,
        answers=answers,
        dollars=dollars(tokens + answers, price.training) if price and recipe.kind == "hosted" else None,
    )


def _service_seconds(config: Config, step: Step) -> float | None:
    """How long a service takes for a step's requests, by its limits; `None` for a training and the batch mode."""
    service = config.backend.service
    if step.steps or service.mode == "batch":
        return None
    seconds = step.requests * ANSWER_SECONDS / service.max_concurrency
    if service.requests_per_minute is not None:
        seconds = max(seconds, 60 * step.requests / service.requests_per_minute)
    if service.tokens_per_minute is not None:
        seconds = max(seconds, 60 * (step.tokens + step.answers) / service.tokens_per_minute)
    return seconds


def _cost_notes(config: Config, price: Price | None, steps: Sequence[Step]) -> Iterator[str]:
    """What a user should know before paying."""
    service = config.backend.service
    yield "tokens are estimated, without the model's tokenizer; dollars are for the longest answers and every row"
    if price is not None:
        yield f"prices: {price.source}"
    if missing := without_price(config, price):
        names = ", ".join(f"costs.prices.{name}" for name in missing)
        yield f"no price is known for some of what {config.model.name} is asked: set {names} to see dollars"
    total = sum(step.dollars or 0.0 for step in steps)
    if config.costs.max_cost is not None and total > config.costs.max_cost:
        yield f"costs.max_cost stops the run at ${config.costs.max_cost:.2f}, which may be before it is done"
    if service.mode == "batch":
        yield "batch mode: each stage that asks may take up to a day for a batch"
    else:
        yield f"time: {ANSWER_SECONDS:.0f} s an answer assumed, {service.max_concurrency} at once"
    if config.training.kind == "hosted":
        yield "how long a training waits and takes at the service is not known: minutes to hours"
        if notice := open_provider(config.recipe("evolve")).rules.notice:
            yield notice


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
