"""The tables of `docs/gpu.md`, made of the kept results: `python -m benchmarks.gpu.table`."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.pages import ROOT, write_part

RESULTS = ROOT / "benchmarks" / "results" / "speed" / "gpu"
PAGE = ROOT / "docs" / "gpu.md"
PART = "gpu tables"
"""Of that page."""
BEFORE = "-padded-levels"
"""What the names of files end in that were made with the engine's fallback: levels of the tree padded, and a dense
bias."""
TRAINING = {
    "training, long": "Training, one row of {long:,} tokens a step, nearly all of it the answer",
    "training, short": "Training, {together} rows a step with an instruction of {shared} tokens in common",
}
ANSWERING = {
    "scored": "Scoring {documents} answers after prompts of {document:,} tokens that share nothing",
    "answered": "Answering {questions} prompts with an instruction of {shared} tokens in common, {new} tokens each",
}


def main() -> None:
    """Writes the page's part."""
    write_part(PAGE, PART, made())


def made() -> str:
    """A section for each card."""
    kept = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    cards = [name for name in kept if not name.endswith(BEFORE)]
    return "\n\n".join(section(kept[name], kept.get(name + BEFORE)) for name in cards)


def section(kept: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """What was measured on one card."""
    machine, size = kept["machine"], kept["size"]
    versions = machine["versions"]
    (rate,) = kept["rate"].values()
    parts = [
        f"### {machine['gpu']}",
        f"{machine['gpu_memory_gb']:.0f} GiB, driver {machine['driver']}, torch {versions['torch']}, transformers "
        f"{versions['transformers']}, PEFT {versions['peft']}, TRL {versions['trl']}; measured "
        f"{machine['measured'][:10]}. A large product in bfloat16 runs at {rate['square_tflops']:.0f} TFLOP/s there.",
    ]
    for name, title in TRAINING.items():
        older = before.get(name) if before else None
        parts += [f"**{title.format(**size)}**", _training(kept[name], older)]
    for name, title in ANSWERING.items():
        older = before["answering"] if before else None
        parts += [f"**{title.format(**size)}**", _answering(kept["answering"], older, name)]
    for model, same in kept.get("sameness", {}).items():
        own, plain = same["h_ours_to_float32"], same["h_plain_to_float32"]
        parts.append(
            f"**Sameness** ({model}, bfloat16). H is off float32's by {own['mean']:.4f} nats on average and "
            f"{own['most']:.4f} at most; plain transformers in bfloat16 by {plain['mean']:.4f} and "
            f"{plain['most']:.4f}. The losses of {len(same['losses']['ours'])} steps differ from "
            f"a plain loop's with PEFT by at most "
            f"{same['largest_difference_of_losses']:.4f}. With random weights the likeliest tokens are nearly alike: "
            f"{100 * same['greedy_answers_alike']:.0f} % of the greedy answers are those of `generate`, whose own "
            f"answers to a prompt alone and in a batch are alike for "
            f"{100 * same['greedy_answers_alike_plain_alone_and_in_a_batch']:.0f} % (of the first 32)."
        )
    return "\n\n".join(parts)


def _training(models: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    lines = ["| model | | tokens a second | TFLOP/s | ours is faster by | peak memory |", "|---|---|---|---|---|---|"]
    for model, ways in models.items():
        rows = [(name, figures) for name, figures in ways.items() if isinstance(figures, dict)]
        if before and model in before:
            rows.insert(1, ("ours with padded levels", before[model]["ours"]))
        lines += [_trained(model, name, figures, ways["ours"]) for name, figures in rows]
    return "\n".join(lines)


def _trained(model: str, name: str, figures: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    if "out_of_memory" in figures:
        return f"| {model} | {name} | out of memory | | | |"
    rate = figures["tokens_a_second"]
    memory = "" if (peak := figures["peak_memory_gb"]) is None or name.startswith("ours with") else f"{peak:.1f} GiB"
    gain = "" if name == "ours" else f"{ours['tokens_a_second'] / rate:.2f} times"
    return f"| {model} | {name} | {rate:,} | {figures['tflops']:.0f} | {gain} | {memory} |"


def _answering(models: Mapping[str, Any], before: Mapping[str, Any] | None, kind: str) -> str:
    lines = [
        "| model | | prompt tokens a second | TFLOP/s | fastest of ours is faster by | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for model, kinds in models.items():
        rows = dict(kinds[kind])
        if before and model in before:
            rows |= {
                name.replace("ours,", "ours with padded levels,"): figures
                for name, figures in before[model][kind].items()
            }
        fastest = max(figures["prompt_tokens_a_second"] for figures in kinds[kind].values())
        for name, figures in rows.items():
            rate = figures["prompt_tokens_a_second"]
            gain = "" if rate == fastest else f"{fastest / rate:.2f} times"
            peak = figures["peak_memory_gb"]
            lines.append(f"| {model} | {name} | {rate:,} | {figures['tflops']:.0f} | {gain} | {peak:.1f} GiB |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
