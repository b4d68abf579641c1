"""Answers new prompts with a run's model."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from semievol.backends import open_backend
from semievol.config import Config
from semievol.data import load
from semievol.errors import DataError, RunDirError
from semievol.records import Example, Request, Sampling
from semievol.run_dir import RunDir
from semievol.stages.evaluate import answer_row
from semievol.tasks import Task

CHUNK = 512
"""Prompts answered before the first of them is given out: enough to sort by length, few enough to see progress."""


def predict(config: Config, model: str, prompts: Callable[[Task], Sequence[Example]]) -> Iterator[dict[str, Any]]:
    """For each prompt its id, answer, probability, mean NLL in nats per token, and the model's own words.

    Args:
        config: of the run.
        model: `base`, `warm` or `evolved`.
        prompts: given the run's task, the rows to answer.

    Raises:
        RunDirError: the run has no such model yet.
    """
    folder = RunDir(config.output)
    weights = _weights(folder, model)
    task = load(config).task
    examples = prompts(task)
    backend = open_backend(config, weights)
    sampling = Sampling(max_tokens=config.evaluate.max_tokens or config.collaborate.max_tokens)
    try:
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            requests = [Request(e.id, task.messages(e), model, sampling) for e in chunk]
            responses = {response.id: response for response in backend.generate(requests)}
            for example in chunk:
                row = answer_row(task, example, responses[example.id])
                row = {name: row[name] for name in ("id", "answer", "probability", "mean_nll", "text")}
                error = responses[example.id].error
                yield row if error is None else {**row, "error": error}
    finally:
        backend.close()


def read_prompts(config: Config, task: Task, source: str) -> list[Example]:
    """The rows of a file laid out as the config says, or of standard input: JSON Lines, or a prompt a line."""
    if source != "-":
        if not Path(source).exists():
            raise DataError(f"{source}: no such file")
        return _rows(config, source)
    lines = [line for line in sys.stdin.read().split("\n") if line.strip()]
    if not lines:
        raise DataError("standard input: no prompts")
    if not lines[0].lstrip().startswith("{"):
        lines = [json.dumps({config.data.columns.prompt: line}) for line in lines]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "stdin.jsonl")
        path.write_text("\n".join(lines), encoding="utf-8")
        return _rows(config, str(path))


def _rows(config: Config, source: str) -> list[Example]:
    """The source's rows, whole, read as unlabeled ones."""
    data = config.data.model_copy(update={"unlabeled": source, "unlabeled_rows": None, "test": None})
    rows = load(config.model_copy(update={"data": data})).unlabeled
    if config.data.columns.id is not None:
        return list(rows)
    return [dataclasses.replace(example, id=f"input-{number}") for number, example in enumerate(rows)]


def _weights(folder: RunDir, model: str) -> dict[str, str]:
    if model == "base":
        return {}
    stage = "warmup" if model == "warm" else "evolve"
    found = [s for _, s in folder.stages() if s.name == stage and s.is_done]
    if not found:
        raise RunDirError(f"{folder.path}: no {model} model yet; semievol run makes it")
    return {model: (found[0] if model == "warm" else found[-1]).weights}
