"""What a run will do, before it does it: requests, tokens, steps, how long that takes and what services charge."""

import dataclasses
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semievol.backends import Backend, open_backend
from semievol.config import Config
from semievol.costs.budget import Paid, without_price
from semievol.costs.prices import Price, price_of
from semievol.data import Dataset
from semievol.errors import DataError
from semievol.forecast.lengths import fitted
from semievol.forecast.work import PromptCount, Sizes, Step, by_stage, sum_of_all, work
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
class Estimate:
    """What is to be done, and what that takes."""

    steps: tuple[Step, ...]
    """Each stage's share of the work."""
    notes: tuple[str, ...]
    """What the figures rest on, and what a user should know before paying."""

    @property
    def seconds(self) -> float | None:
        """The estimate for all of it, without the stages of which there is no telling."""
        seconds = [step.seconds for step in self.steps if step.seconds is not None]
        return sum(seconds) if seconds else None

    @property
    def dollars(self) -> float | None:
        """What services charge for all of it at most; `None` if a price is missing or nothing is paid."""
        return sum_of_all([step.dollars for step in self.steps])


@dataclass(frozen=True)
class Plan(Estimate):
    """What `semievol check` prints."""

    prompt_tokens: tuple[int, int]
    """Median and longest plain prompt, in tokens."""
    with_examples: int
    """The longest prompt that retrieved examples can make, in tokens; a collaborator whose prompt does not fit gives
    no answer to that row."""
    limit: int
    """What prompt and response may be long together."""


def make_plan(config: Config, dataset: Dataset, *, measure: bool = False) -> Plan:
    """The plan of a run, with times where `measure` allows a few seconds of the engine.

    Raises:
        DataError: a prompt does not fit into the model with its response; names the row.
    """
    config = fitted(config, dataset)
    backend = open_backend(config, {})
    try:
        lengths = prompt_lengths(config, dataset, backend)
        price = price_at_services(config, backend)
        steps = by_stage(list(work(config, sizes_of(lengths, dataset, backend), price)))
        steps = timed(steps, config, backend, prompt_rate(config, dataset, backend) if measure else None)
        all_lengths = np.sort(np.concatenate(list(lengths.values())))
        middle = int(all_lengths[len(all_lengths) // 2]) if len(all_lengths) else 0
        longest = int(all_lengths[-1]) if len(all_lengths) else 0
        most_examples = max((collaborator.examples for collaborator in collaborators(config)), default=0)
        with_examples = int(lengths["unlabeled"].max(initial=0))
        with_examples += int(np.sort(lengths["labeled"])[-most_examples:].sum()) if most_examples else 0
        notes = tuple(notes_on(config, backend, price, steps))
        return Plan(tuple(steps), notes, (middle, longest), with_examples, backend.max_length())
    finally:
        backend.close()


def price_at_services(config: Config, backend: Backend) -> Price | None:
    """What the run's model costs at services; `None` if none is asked, or no price is known."""
    return price_of(config) if isinstance(backend, Paid) or config.training.kind == "hosted" else None


def sizes_of(lengths: Mapping[str, Lengths], dataset: Dataset, backend: Backend) -> Sizes:
    """The sizes of the data whose prompts have these lengths."""
    splits = {name: PromptCount(len(tokens), int(tokens.sum())) for name, tokens in lengths.items()}
    of_some = [len(dataset.task.choices(example) or ()) for example in dataset.labeled[:100]]
    return Sizes(
        **splits,
        response=_response_tokens(dataset, backend),
        choices=sum(of_some) / max(len(of_some), 1),
    )


def timed(steps: Sequence[Step], config: Config, backend: Backend, rate: float | None) -> list[Step]:
    """The steps with their times: by a service's limits, or by an engine's prompt tokens a second."""
    if isinstance(backend, Paid):
        return [dataclasses.replace(step, seconds=_service_seconds(config, step)) for step in steps]
    if rate is None:
        return list(steps)
    cost = {True: TRAINING_COST, False: 1.0}
    return [dataclasses.replace(step, seconds=step.tokens * cost[step.steps > 0] / rate) for step in steps]


def notes_on(config: Config, backend: Backend, price: Price | None, steps: Sequence[Step]) -> Iterator[str]:
    """What the figures rest on, and what a user should know before paying."""
    if config.rounds > 1:
        yield "rounds after the first are counted as if each kept θ of its rows"
    yield from _criterion_note(config)
    if isinstance(backend, Paid) or config.training.kind == "hosted":
        yield from _cost_notes(config, price, steps)


def _criterion_note(config: Config) -> Iterator[str]:
    """What rows will be kept by, if that is not plain."""
    if config.backend.kind == "openai" and config.select.enabled and config.select.criterion == "auto":
        if config.backend.service.logprobs is False:
            yield "rows are kept by agreement: backend.service.logprobs is false, so there is no H"
        else:
            yield "rows are kept by H, or by agreement if the service gives no log-probabilities"


def prompt_lengths(config: Config, dataset: Dataset, backend: Backend) -> dict[str, Lengths]:
    """Tokens of every plain prompt, by split, each (N,).

    Raises:
        DataError: a prompt does not fit into the model with its response; names the row.
    """
    limit, room = backend.max_length(), config.longest

    def tokens(name: str, example: Example) -> int:
        count = backend.prompt_tokens(Request(f"{name} row {example.id}", dataset.task.messages(example), "base"))
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
        request = Request(example.id, dataset.task.messages(example), "base")
        scored = dataclasses.replace(request, response=dataset.task.response(example))
        total += backend.prompt_tokens(scored) - backend.prompt_tokens(request)
    return total / max(len(dataset.labeled), 1)


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


def prompt_rate(config: Config, dataset: Dataset, backend: Backend) -> float | None:
    """Prompt tokens a second of this engine on this machine, from two small batches of the user's prompts.

    `None` if that would be paid for, or says nothing.
    """
    if isinstance(backend, Paid) or config.backend.kind == "fake":
        return None
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
