"""The tables of `docs/speed.md`, made of the kept results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT, write_part

from .cells import Cell, equal, gap, memory, share_of_samples, slower, slower_stage, slower_training, spread
from .figures import Result, prefill_shares, training_rate, training_shares, working
from .sentences import free_decoding, real_demo, where, whole_demo
from .workloads import KINDS

RESULTS = ROOT / "benchmarks" / "results" / "speed"
PAGE = ROOT / "docs" / "speed.md"
DEMO_KEPT = RESULTS / "whole-demo.json"
"""What `benchmarks.speed.demo` keeps."""
FREE_KEPT = RESULTS / "free-decoding.json"
"""What `benchmarks.speed.free` keeps."""
PART = "speed table"
"""Of that page."""


def kept(folder: Path = RESULTS) -> dict[str, Result]:
    """The kept results by workload, in the order of `KINDS`."""
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in KINDS
        if (path := folder / f"{name}.json").exists()
    }


SECTIONS: tuple[tuple[str, dict[str, Cell]], ...] = (
    (
        "Answering: how many times longer than ours",
        {
            "naive": slower("naive", loading=False),
            "naive, each one's loading counted": slower("naive", loading=True),
            "tuned `transformers`": slower("tuned", loading=False),
            "vLLM": slower("vllm", loading=False),
            "naive: collaborate": slower_stage("naive", "collaborate"),
            "naive: justify": slower_stage("naive", "justify"),
            "naive: score": slower_stage("naive", "score"),
            "tuned: collaborate": slower_stage("tuned", "collaborate"),
            "tuned: justify": slower_stage("tuned", "justify"),
            "tuned: score": slower_stage("tuned", "score"),
        },
    ),
    (
        "Training: how many times longer than ours",
        {
            "TRL's defaults, from the second step on": slower_training("trl", "step_seconds"),
            "TRL's defaults, with loading and saving": slower_training("trl", "seconds"),
            "TRL in our type, from the second step on": slower_training("trl-tuned", "step_seconds"),
            "TRL in our type, with loading and saving": slower_training("trl-tuned", "seconds"),
        },
    ),
    (
        "The limit",
        {
            "matrix products of a layer, GFLOP/s": lambda r: spread([x["layer"] / 1e9 for x in r["rates"]], "{:.0f}"),
            "the same with a training batch's rows": lambda r: spread(
                [x["layer"] / 1e9 for x in r["training"]["rates"]], "{:.0f}"
            ),
            "a product of 2048 x 2048 x 2048, GFLOP/s": lambda r: spread(
                [x["square"] / 1e9 for x in r["rates"]], "{:.0f}"
            ),
            "our prefill's share, of tokens computed, %": lambda r: spread(
                [100 * share for share in prefill_shares(r)], "{:.0f}"
            ),
            "our prefill's share, of tokens needed, %": lambda r: spread(
                [100 * share for share in prefill_shares(r, needed=True)], "{:.0f}"
            ),
            "our training's share, %": lambda r: spread([100 * share for share in training_shares(r)], "{:.0f}"),
        },
    ),
    (
        "Peak memory, GB",
        {
            "ours": memory("ours"),
            "naive": memory("naive"),
            "tuned `transformers`": memory("tuned"),
            "vLLM": memory("vllm"),
            "training: ours": memory("ours", training=True),
            "training: TRL's defaults": memory("trl", training=True),
            "training: TRL in our type": memory("trl-tuned", training=True),
        },
    ),
    (
        "The same results",
        {
            "greedy answers equal, tuned `transformers`": equal("tuned"),
            "greedy answers equal, vLLM": equal("vllm"),
            **{
                f"{key} of samples in % (95 % interval): {way}": share_of_samples(way, key)
                for key in ("accuracy", "agreement")
                for way in ("ours", "naive", "tuned", "vllm")
            },
            "H: largest and mean difference, naive": lambda r: gap(r["checks"]["mean_nll"]["naive"]),
            "H: largest and mean difference, tuned": lambda r: gap(r["checks"]["mean_nll"]["tuned"]),
            "loss: largest and mean difference, TRL's defaults": lambda r: gap(r["training"]["loss_difference"]["trl"]),
            "loss: largest and mean difference, TRL in our type": lambda r: gap(
                r["training"]["loss_difference"]["trl-tuned"]
            ),
        },
    ),
    (
        "What was measured",
        {
            "rows; training rows": lambda r: f"{r['settings']['rows']}; {r['settings']['train_rows']}",
            "requests: collaborate, justify, score": lambda r: ", ".join(
                str(n) for n in r["counts"]["requests"].values()
            ),
            "tokens requested; needed": lambda r: (
                f"{sum(r['counts']['tokens_requested'].values())}; {sum(r['counts']['tokens_needed'].values())}"
            ),
            "naive: longest answer in tokens": lambda r: str(r["settings"]["naive_tokens"]),
            "our weights' type": lambda r: str(r["dtype"]),
            "repetitions": lambda r: str(r["settings"]["repetitions"]),
            "ours: tokens requested a second": lambda r: spread(
                [sum(r["counts"]["tokens_requested"].values()) / s for s in working(r, "ours")], "{:.0f}"
            ),
            "ours: tokens trained a second": lambda r: spread(training_rate(r, "ours"), "{:.0f}"),
        },
    ),
)
"""Title, and what stands in each row."""


def tables(
    results: Mapping[str, Result], whole: Mapping[str, Any] | None = None, free: Mapping[str, Any] | None = None
) -> str:
    """All tables in Markdown.

    Args:
        whole: the figures of `benchmarks.speed.demo`, if it was run.
        free: those of `benchmarks.speed.free`.
    """
    if not results:
        return "Nothing is kept yet; `make bench` measures it."
    made = [_table(title, rows, results) for title, rows in SECTIONS]
    if "newsgroups" in results:
        made.append(whole_demo(results["newsgroups"]))
    if whole is not None:
        made.append(real_demo(whole))
    if free is not None:
        made.append(free_decoding(free))
    return "\n\n".join([*made, where(results)])


def from_kept() -> str:
    """The tables of everything that is kept."""
    whole, free = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else None for path in (DEMO_KEPT, FREE_KEPT)
    )
    return tables(kept(), whole, free)


def rewrite() -> None:
    """Writes the tables of `docs/speed.md` from what is kept."""
    write_part(PAGE, PART, from_kept())


def _table(title: str, rows: Mapping[str, Cell], results: Mapping[str, Result]) -> str:
    lines = [
        f"| {title} | " + " | ".join(KINDS[name].title for name in results) + " |",
        "|---|" + "---|" * len(results),
    ]
    lines += [
        f"| {row} | " + " | ".join(cell(result) for result in results.values()) + " |" for row, cell in rows.items()
    ]
    return "\n".join(lines)
