"""What each stage did, from its `done.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semievol.run_folder.folder import RunFolder
from semievol.run_folder.stage import Stage
from semievol.trust.estimates import spoken

WHAT: Mapping[str, str] = {
    "warmup": "trains M_warm on the labeled rows",
    "collaborate": "collaborators answer every unlabeled row",
    "justify": "settles disagreements and measures H",
    "select": "keeps the rows with a low H",
    "evolve": "trains M_evol on labeled and kept rows",
    "evaluate": "models answer the test rows",
}
"""Stage -> what it does, in words."""


@dataclass(frozen=True, slots=True)
class StageFacts:
    """A line of the page's table of stages."""

    round: int
    name: str
    what: str
    done: bool
    rows: int | None
    requests: int | None
    tokens: int | None
    """Of prompts and answers, or of all training passes."""
    seconds: float | None
    notes: tuple[str, ...]


def stage_facts(folder: RunFolder) -> list[StageFacts]:
    """Every stage there is a folder for, in the order of the method; unfinished ones say how far they are."""
    return [_facts(round_, stage) for round_, stage in folder.stages()]


def _facts(round_: int, stage: Stage) -> StageFacts:
    summary = stage.summary() if stage.is_done else {}
    tokens = summary.get("tokens")
    if tokens is None and "prompt_tokens" in summary:
        tokens = summary["prompt_tokens"] + summary["completion_tokens"]
    return StageFacts(
        round=round_,
        name=stage.name,
        what=WHAT[stage.name],
        done=stage.is_done,
        rows=summary.get("rows"),
        requests=summary.get("requests"),
        tokens=tokens,
        seconds=summary.get("seconds"),
        notes=tuple(_notes(stage, summary)),
    )


def _notes(stage: Stage, summary: Mapping[str, Any]) -> list[str]:
    if not stage.is_done:
        shards, answers = stage.shards.progress()
        return [f"not finished: {shards} shards, and {answers} answers of shards under way"]
    notes = []
    if "steps" in summary:
        losses = summary.get("losses") or ()
        curve = f", loss {losses[0]:.3g} to {losses[-1]:.3g}" if losses else ""
        notes.append(f"{summary['steps']} steps{curve}")
    if "collaborators" in summary:
        notes.append(", ".join(summary["collaborators"]))
    origins = {
        name: summary[name]
        for name in ("unanimous", "justified", "majority", "single", "pooled", "none")
        if name in summary
    }
    if origins:
        notes.append(
            ", ".join(f"{count} {name if name != 'none' else 'without answer'}" for name, count in origins.items())
        )
    if "kept" in summary:
        notes.append(f"{summary['kept']} kept")
    if promise := summary.get("promise"):
        notes.append(spoken(promise))
    if summary.get("failed"):
        notes.append(f"{summary['failed']} requests failed")
    return notes
