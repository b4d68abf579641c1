"""What stands below the tables: the whole demo, free decoding, the machine."""

from collections.abc import Mapping
from typing import Any

from .cells import spread
from .composition import demo_counts, demo_seconds
from .figures import Result, ratios
from .workloads import KINDS

DEMO_WAYS = {"ours": ("ours", "ours"), "naive": ("naive", "trl"), "tuned libraries": ("tuned", "trl-tuned")}
"""A way to answer and a way to train."""


def whole_demo(result: Result) -> str:
    """A sentence on the whole demo: its counts times the rates of one workload."""
    demo = demo_counts()
    seconds = {name: demo_seconds(result, demo, *ways) for name, ways in DEMO_WAYS.items()}
    said = [
        f"{name} {spread([s / 60 for s in each], '{:.1f}')} minutes"
        + ("" if name == "ours" else f", {spread(ratios(each, seconds['ours']))} times ours")
        for name, each in seconds.items()
    ]
    return "The whole demo, put together from these rates: " + "; ".join(said) + "."


def real_demo(found: Mapping[str, Any]) -> str:
    """A sentence on the demo as it was really run."""
    ours, naive = found["ours"], found["naive"]
    accuracies = [f"{100 * each['accuracy']['evolved']:.1f}" for each in (ours, naive)]
    return (
        f"The whole demo, really run once each: ours {ours['minutes']:.1f} minutes, naive {naive['minutes']:.1f}, "
        f"{naive['minutes'] / ours['minutes']:.2f} times ours; accuracy of SemiEvol {accuracies[0]} % and "
        f"{accuracies[1]} %."
    )


def free_decoding(found: Mapping[str, Any]) -> str:
    """A sentence on the naive way as long-winded as the paper's program."""
    ours, naive = found["ours"], found["naive"]
    return (
        f"Naive with answers of up to {found['tokens']} tokens, as in the paper's program, once: "
        f"{found['requests']} answers of the collaborators took it {naive['seconds']:.0f} s for "
        f"{naive['completion_tokens']} tokens, ours {ours['seconds']:.1f} s for {ours['completion_tokens']}: "
        f"{naive['seconds'] / ours['seconds']:.0f} times ours."
    )


def where(results: Mapping[str, Result]) -> str:
    """The machine and the versions, of each workload where they differ."""
    said: dict[str, list[str]] = {}
    for name, result in results.items():
        facts = result["machine"]
        versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
        place = (
            f"{facts['cores']} cores ({facts['processor']}), {facts['threads']} threads, "
            f"{facts.get('memory_gb', '?')} GB; {versions}."
        )
        said.setdefault(place, []).append(KINDS[name].title)
    if len(said) == 1:
        return f"Measured on {next(iter(said))}"
    return "\n".join(f"- {', '.join(titles)}: measured on {place}" for place, titles in said.items())
