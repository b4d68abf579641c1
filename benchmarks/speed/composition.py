"""How long the whole demo would take one way: what it counts, times what was measured for a unit of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.pages import ROOT

KEPT = ROOT / "benchmarks" / "results" / "demo" / "seed-0"


@dataclass(frozen=True)
class Demo:
    """What `configs/demo.yaml` does, as far as it takes time; retrieval and the baseline do not."""

    rows: int
    """Unlabeled rows: each is answered by every collaborator and scored; a vote settles them."""
    test_answers: int
    """Test rows times models."""
    training_tokens: int
    """Of warm-up and evolution, all passes."""
    trainings: int = 2


def demo_counts() -> Demo:
    """The counts of the kept run with the first seed."""
    import semievol

    config = semievol.load(ROOT / "configs" / "demo.yaml")
    done = [json.loads((KEPT / f"{stage}-done.json").read_text(encoding="utf-8")) for stage in ("warmup", "evolve")]
    return Demo(
        rows=config.data.unlabeled_rows or 0,
        test_answers=(config.data.test_rows or 0) * len(config.evaluate.models),
        training_tokens=sum(each["tokens"] for each in done),
    )


def demo_seconds(result: Mapping[str, Any], demo: Demo, way: str, trainer: str) -> list[float]:
    """Seconds of the demo from each repetition of a workload that has its prompts.

    A test row is taken to cost what the collaborators' prompts cost a token. The weights are loaded for each of the
    crew's passes, for the scores and for each model's evaluation by naive; twice, before and after evolution, by the
    libraries; once by ours, which trains the model that answers.
    """
    counts = result["counts"]
    requests, tokens, rows = counts["requests"], counts["tokens_requested"], result["settings"]["rows"]
    scored = max(requests["score"], 1)  # a barely trained model may have answered nothing
    plain = tokens["score"] / scored
    crew = requests["collaborate"] // rows
    trained = counts["training_tokens"]
    found = []
    for answered, training in zip(result["answering"][way], result["training"]["ways"][trainer], strict=True):
        stages = answered["stages"]
        answers = demo.rows * (stages["collaborate"] / rows + stages["score"] / scored)
        evaluation = demo.test_answers * plain * stages["collaborate"] / tokens["collaborate"]
        if way == "naive":
            passes = crew + (requests["justify"] > 0) + 1
            loading = answered["loading"] / passes * (crew + 1 + 3)
        else:
            loading = answered["loading"] * (1 if way == "ours" else 2)
        steps = training["step_seconds"] * training["steps"] / (training["steps"] - 1)
        fixed = training["seconds"] - steps
        found.append(
            answers + evaluation + loading + demo.training_tokens / trained * steps + demo.trainings * max(fixed, 0.0)
        )
    return found
