"""The tables of the estimate."""

import json
from typing import Any

from benchmarks.cluster_estimate.arithmetic import (
    COUNTS,
    dollars,
    gradient_bytes,
    shards,
    stage_seconds,
    step_seconds,
    steps,
    training_seconds,
    work,
)
from benchmarks.cluster_estimate.assumptions import (
    A100,
    ADAPTER_SHARE,
    ANSWERING_SHARE,
    BIG_BATCH,
    CLIENT_RATE,
    DISAGREE,
    ENGINE_SECONDS,
    H100,
    HEAD_PRICE,
    L40S,
    LLAMA,
    MACHINE_SECONDS,
    PASS_SECONDS,
    PRICES,
    ROWS,
    TRAINER_SECONDS,
    TRAINING_SHARE,
)


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
