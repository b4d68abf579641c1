"""What a run computes, stage by stage, as its config and the sizes of its data tell."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from semievol.config import Config
from semievol.costs.prices import Price, dollars
from semievol.stages.collaborate import collaborators


@dataclass(frozen=True)
class Step:
    """A share of a run's work: of a stage, or of a part of one in one round."""

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
    """Estimated from a short measurement, or from a service's limits; `None` if there is no telling."""
    dollars: float | None = None
    """What services charge at most; `None` if nothing is paid or the price is not known."""
    round: int = 1
    part: str = ""
    """Which collaborator of `collaborate`, which model of `evaluate`; empty for a whole stage."""


@dataclass(frozen=True)
class PromptCount:
    """Plain prompts of a split."""

    rows: int
    tokens: int
    """Of all of them together."""

    def __add__(self, other: "PromptCount") -> "PromptCount":
        return PromptCount(self.rows + other.rows, self.tokens + other.tokens)

    def __sub__(self, other: "PromptCount") -> "PromptCount":
        return PromptCount(self.rows - other.rows, self.tokens - other.tokens)

    def share(self, of: float) -> "PromptCount":
        """So much of them, from 0 to 1."""
        return PromptCount(round(self.rows * of), round(self.tokens * of))


@dataclass(frozen=True)
class Sizes:
    """What there is to work on."""

    labeled: PromptCount
    unlabeled: PromptCount
    test: PromptCount
    response: float
    """Mean tokens of what is trained on, pseudo-labels' responses too."""
    choices: float = 0.0
    """Answers that a row can be given, on average; 0 if they are not a closed set."""


def work(config: Config, sizes: Sizes, price: Price | None) -> Iterator[Step]:
    """A run's work in its order, at most; in further rounds as if each round kept θ of its rows."""
    labeled, unlabeled = sizes.labeled, sizes.unlabeled
    for number in range(1, config.rounds + 1):
        if config.warmup.enabled and (number == 1 or not config.warm_is_evolved):
            yield _training("warmup", config, labeled, sizes.response, price, number)
            yield from _committee(config, sizes, price)
        if not unlabeled.rows or not config.evolve.enabled:
            break
        answered = unlabeled + labeled if config.justify.calibrate else unlabeled
        if config.collaborate.how == "score":
            yield from _scoring(config, sizes, unlabeled, number)
        else:
            yield from _collaborating(config, labeled, answered, price, number)
        yield _justifying(config, answered, sizes.response, price, number)
        by_share = config.select.enabled and config.select.rule == "theta"
        selected = unlabeled.share(config.select.theta if by_share else 1.0)
        rows = labeled + selected if config.evolve.include_labeled else selected
        yield _training("evolve", config, rows, sizes.response, price, number)
        labeled, unlabeled = labeled + selected, unlabeled - selected
    if sizes.test.rows:
        yield from _evaluating(config, sizes, price)


def by_stage(steps: Sequence[Step]) -> list[Step]:
    """The steps of each stage together, of all rounds and parts."""
    stages: dict[str, list[Step]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step)
    return [_together(stage, steps_of_stage) for stage, steps_of_stage in stages.items()]


def _together(stage: str, steps: Sequence[Step]) -> Step:
    return Step(
        stage,
        requests=sum(step.requests for step in steps),
        tokens=sum(step.tokens for step in steps),
        steps=sum(step.steps for step in steps),
        answers=sum(step.answers for step in steps),
        seconds=sum_of_all([step.seconds for step in steps]),
        dollars=sum_of_all([step.dollars for step in steps]),
    )


def sum_of_all(values: Sequence[float | None]) -> float | None:
    """`None` if one of them is not known, or there are none."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) if numbers and len(numbers) == len(values) else None


def _collaborating(
    config: Config, labeled: PromptCount, answered: PromptCount, price: Price | None, number: int
) -> Iterator[Step]:
    """Each collaborator answers each row: the unlabeled ones, and the labeled ones if they are calibrated on."""
    example = labeled.tokens / max(labeled.rows, 1)
    prompts_of_weights = Counter[str]()
    for collaborator in collaborators(config):
        prompts_of_weights[collaborator.name] += 1
        prompts = PromptCount(answered.rows, round(answered.tokens + answered.rows * collaborator.examples * example))
        step = _asking("collaborate", collaborator.weights, prompts, config.longest, price)
        yield dataclasses.replace(
            step, round=number, part=f"{collaborator.name} {prompts_of_weights[collaborator.name]}"
        )


def _committee(config: Config, sizes: Sizes, price: Price | None) -> Iterator[Step]:
    """The trainings of `warmup.folds`, each without its part of the labels."""
    folds = config.warmup.folds
    if folds < 2 or not sizes.unlabeled.rows or not config.evolve.enabled:
        return
    for part in range(1, folds + 1):
        step = _training("warmup", config, sizes.labeled.share(1 - 1 / folds), sizes.response, price, 1)
        yield dataclasses.replace(step, part=f"fold {part}")


def _scoring(config: Config, sizes: Sizes, unlabeled: PromptCount, number: int) -> Iterator[Step]:
    """Every answer of every row is scored by each model; an engine reads a prompt once for all of them."""
    example = sizes.labeled.tokens / max(sizes.labeled.rows, 1)
    committee = 1 + (config.warmup.folds if config.warmup.folds > 1 else 0)
    out_of_fold = sizes.labeled if committee > 1 or not config.warmup.enabled else PromptCount(0, 0)
    for position, collaborator in enumerate(collaborators(config), 1):
        models = committee if collaborator.weights == "warm" else 1
        rows = unlabeled.rows * models + out_of_fold.rows
        tokens = unlabeled.tokens * models + out_of_fold.tokens + rows * collaborator.examples * example
        scores = round(rows * sizes.choices)
        yield Step(
            "collaborate",
            scores,
            round(tokens + scores * sizes.response),
            round=number,
            part=f"{collaborator.name} {position}",
        )


def _justifying(config: Config, answered: PromptCount, response: float, price: Price | None, number: int) -> Step:
    """At most: every row is asked again, and every answer is scored; a service scores by answering once more."""
    longest, crew = config.longest, collaborators(config)
    warm = "warm" if config.warmup.enabled else "base"
    steps = [_asking("justify", warm, answered, longest, price)]
    if config.justify.mode not in ("majority", "pool") and len(crew) > 1:
        prompts = PromptCount(answered.rows, round(answered.tokens + answered.rows * len(crew) * response))
        steps.append(_asking("justify", warm, prompts, longest, price))
    return dataclasses.replace(_together("justify", steps), round=number)


def _evaluating(config: Config, sizes: Sizes, price: Price | None) -> Iterator[Step]:
    section = config.evaluate
    has_model = {
        "base": True,
        "warm": config.warmup.enabled,
        "evolved": config.evolve.enabled and sizes.unlabeled.rows > 0,
    }
    example_tokens = section.examples * sizes.labeled.tokens / max(sizes.labeled.rows, 1)
    prompts = PromptCount(sizes.test.rows, round(sizes.test.tokens + sizes.test.rows * example_tokens))
    for model in section.models:
        if has_model[model]:
            step = _asking("evaluate", model, prompts, config.longest_at_test, price)
            yield dataclasses.replace(step, part=model)


def _asking(stage: str, weights: str, prompts: PromptCount, longest: int, price: Price | None) -> Step:
    answers = prompts.rows * longest
    per_input, per_output = price.answering(weights) if price else (None, None)
    paid = sum_of_all([dollars(prompts.tokens, per_input), dollars(answers, per_output)])
    return Step(stage, requests=prompts.rows, tokens=prompts.tokens, answers=answers, dollars=paid)


def _training(
    stage: Literal["warmup", "evolve"],
    config: Config,
    prompts: PromptCount,
    response: float,
    price: Price | None,
    number: int,
) -> Step:
    recipe = config.recipe(stage)
    batch = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    epochs = recipe.num_train_epochs
    tokens, answers = prompts.tokens * epochs, round(prompts.rows * response) * epochs
    return Step(
        stage,
        prompts.rows,
        tokens,
        steps=math.ceil(prompts.rows / batch) * epochs,
        answers=answers,
        dollars=dollars(tokens + answers, price.training) if price and recipe.kind == "hosted" else None,
        round=number,
    )
