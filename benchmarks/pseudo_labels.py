"""Holds the pseudo-labels of run folders against the truth, under several rules of selection, as Markdown.

For runs whose config sets `evaluate.unlabeled_answers`; they need no test rows and no evolution:

python benchmarks/pseudo_labels.py runs/one runs/two > table.md
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import semievol
from semievol.config import SelectConfig
from semievol.data import load, read_answers
from semievol.metrics import accuracy
from semievol.run_folder.folder import RunFolder
from semievol.stages.select import decide, thresholds

RULES = (
    {"theta": 0.5},
    {"theta": 0.5, "per_answer": True},
    {"theta": 0.6, "per_answer": True},
    {"theta": 0.7, "per_answer": True},
    {"theta": 1.0, "min_agreement": 1.0},
    {"theta": 0.5, "per_answer": True, "min_agreement": 0.75},
)


def main(folders: Sequence[str]) -> None:
    """Prints a section for each run folder."""
    for folder in folders:
        print(section(Path(folder)))


def section(path: Path) -> str:
    """The collaborators' accuracy, and that of the final answers: all, by origin, and under each rule."""
    config = semievol.load(path / "config.yaml")
    dataset = load(config)
    truth = read_answers(config, dataset.task)
    folder = RunFolder(path)
    table = pa.concat_tables(folder.stage("justify").shards.tables())
    rows = table.to_pylist()

    def right(row: dict[str, Any], answer: str | None) -> bool:
        known = truth[row["id"]]
        return answer is not None and known is not None and dataset.task.equal(answer, known)

    def line(name: str, verdicts: Sequence[bool]) -> str:
        figures = accuracy(verdicts)
        share = "" if figures["accuracy"] is None else f"{100 * figures['accuracy']:.1f}"
        return f"| {name} | {figures['rows']} | {share} |"

    lines = [
        f"### justify.mode: {config.justify.mode}",
        "",
        f"Seed {config.seed}, {len(dataset.labeled)} labeled and {len(rows)} unlabeled rows.",
        "",
        "| answers of | rows | right, % |",
        "|---|---|---|",
    ]
    for index, candidate in enumerate(rows[0]["candidates"]):
        lines.append(line(candidate["collaborator"], [right(row, row["candidates"][index]["answer"]) for row in rows]))
    lines.append(line("final: all", [right(row, row["answer"]) for row in rows]))
    for origin in sorted({row["origin"] for row in rows}):
        lines.append(line(f"final: {origin}", [right(row, row["answer"]) for row in rows if row["origin"] == origin]))
    for rule in RULES:
        selection = SelectConfig.model_validate(rule)
        decisions = decide(table, selection, thresholds([table], selection))
        kept = [right(row, row["answer"]) for row, (is_kept, _) in zip(rows, decisions, strict=True) if is_kept]
        lines.append(line("kept by " + ", ".join(f"{name} {value}" for name, value in rule.items()), kept))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
