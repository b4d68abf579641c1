"""Seconds and dollars of a run, part by part."""

import json
import math
from dataclasses import dataclass

from benchmarks.cluster_estimate.assumptions import (
    ADAPTER_SHARE,
    ANSWERING_SHARE,
    CLIENT_RATE,
    DISAGREE,
    ENGINE_SECONDS,
    ENGINE_STARTS,
    GRADIENT_BYTES,
    HEAD_PRICE,
    LLAMA,
    MACHINE_SECONDS,
    PASS_SECONDS,
    RANK,
    TRAINER_SECONDS,
    TRAINING_SHARE,
    Machines,
)
from benchmarks.pages import ROOT
from benchmarks.speed.limit import forward_flop, training_flop

COUNTS = ROOT / "benchmarks" / "results" / "cluster-tokens.json"
SCALE = ROOT / "benchmarks" / "results" / "scale.json"


@dataclass(frozen=True)
class Work:
    """Tokens of one run, for a number of unlabeled rows."""

    rows: int
    labeled: int
    test: int
    kept: int
    prompt: dict[str, float]
    """Mean tokens of a plain prompt, by split."""
    prefix: int
    """Tokens with which every prompt begins; an engine computes them once."""
    response: float
    """Mean tokens of a response with its end."""
    crew: tuple[tuple[str, int], ...]
    """Weights and number of examples of each collaborator."""
    shard_rows: int
    batch: int
    """Rows in an optimizer step."""
    epochs: int


def work(rows: int | None = None, batch: int | None = None) -> Work:
    """The run of `configs/llama31-8b-ray.yaml`, or one with more unlabeled rows of the same lengths."""
    kept = json.loads(COUNTS.read_text(encoding="utf-8"))
    splits, recipe = kept["splits"], kept["recipe"]
    rows = rows or splits["unlabeled"]["rows"]
    return Work(
        rows=rows,
        labeled=splits["labeled"]["rows"],
        test=splits["test"]["rows"],
        kept=round(recipe["theta"] * rows),
        prompt={name: split["tokens"] / split["rows"] for name, split in splits.items()},
        prefix=kept["prefix_tokens"],
        response=kept["response_tokens"],
        crew=tuple((weights, examples) for weights, examples in recipe["collaborators"]),
        shard_rows=recipe["shard_rows"],
        batch=batch or recipe["batch"],
        epochs=recipe["epochs"],
    )


def stage_seconds(run: Work, on: Machines, gpus: int) -> dict[str, float]:
    """Seconds of each part of a run on `gpus` GPUs, in its order."""
    plain = run.prompt["unlabeled"]
    shown = run.prompt["labeled"] - run.prefix + run.response  # of one example
    crew = [(weights, plain + examples * shown) for weights, examples in run.crew]
    asked = [("warm", DISAGREE * (plain + 2 * run.response)), ("warm", plain)]  # justification, score
    tested = [(weights, run.prompt["test"]) for weights in ("base", "warm", "warm")]
    driver = _driver_seconds(run.rows)
    return {
        "machines start": MACHINE_SECONDS,
        "load": driver["load"],
        "warmup": training_seconds(run, run.labeled, on, gpus),
        "engines start, twice": ENGINE_STARTS * ENGINE_SECONDS,
        "collaborate": _answering(run, crew, run.rows, on, gpus),
        "justify": _answering(run, asked, run.rows, on, gpus),
        "select": driver["select"],
        "evolve": training_seconds(run, run.labeled + run.kept, on, gpus),
        "evaluate": _answering(run, tested, run.test, on, gpus),
        "report": driver["report"],
    }


def training_seconds(run: Work, rows: int, on: Machines, gpus: int) -> float:
    """Seconds of a training: no more GPUs take part than a step has rows."""
    return TRAINER_SECONDS + steps(run, rows) * step_seconds(run, on, min(gpus, run.batch))


def steps(run: Work, rows: int) -> int:
    """Optimizer steps of a training."""
    return run.epochs * math.ceil(rows / run.batch)


def step_seconds(run: Work, on: Machines, workers: int) -> float:
    """Seconds of an optimizer step: each worker's rows, then the sum of the gradients (a ring)."""
    length = run.prompt["labeled"] + run.response
    tokens = round(length * run.batch / workers)
    flop = training_flop(LLAMA, tokens, round(run.response * run.batch / workers), length, RANK)
    passes = run.batch / workers if run.batch == work().batch else 1  # the paper's recipe has one row in a pass
    exchanged = 2 * (workers - 1) / workers * gradient_bytes()
    return max(flop / (TRAINING_SHARE * on.peak), passes * PASS_SECONDS) + exchanged / on.link


def gradient_bytes() -> int:
    """Bytes of the gradients that workers sum in a step."""
    return GRADIENT_BYTES * LLAMA.lora_weights(RANK)


def shards(run: Work, rows: int) -> int:
    """Shards of `rows` rows."""
    return math.ceil(rows / run.shard_rows)


def _answering(run: Work, requests: list[tuple[str, float]], rows: int, on: Machines, gpus: int) -> float:
    """Seconds of a stage: a shard's time, for as many shards as the busiest worker gets."""
    row = sum(_request_seconds(run, on, weights, tokens) for weights, tokens in requests)
    count = shards(run, rows)
    return math.ceil(count / gpus) * (rows / count) * row


def _request_seconds(run: Work, on: Machines, weights: str, tokens: float) -> float:
    computed = max(tokens - run.prefix, 0) + run.response
    flop = forward_flop(LLAMA, 1, 0, tokens) * computed + 2 * LLAMA.hidden * LLAMA.vocabulary * run.response
    share = ANSWERING_SHARE * (ADAPTER_SHARE if weights != "base" else 1.0)
    return max(flop / (share * on.peak), 1 / CLIENT_RATE)


def _driver_seconds(rows: int) -> dict[str, float]:
    """Measured for a million rows on two cores, taken to grow in proportion."""
    runs = json.loads(SCALE.read_text(encoding="utf-8"))["runs"]
    million = next(each for each in runs if each["rows"] == 1_000_000)
    return {name: seconds * rows / million["rows"] for name, seconds in million["stages"].items()}


def dollars(seconds: float, on: Machines, gpus: int) -> float:
    """The price of the machines and the head."""
    return seconds / 3600 * (on.price * gpus / on.gpus + HEAD_PRICE)
