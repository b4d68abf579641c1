"""The rows that trained the evolved model, labeled and pseudo-labeled, in the forms that other tools read.

Beside the file stands one with what is known of each row: where its answer is from, how sure it is, how much it counts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from semievol.config import Config
from semievol.data import Dataset
from semievol.errors import ConfigError
from semievol.records import Example, Message, TrainingExample
from semievol.run_folder.files import whole
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import reaching
from semievol.stages.evaluate import last_fates, selections_of
from semievol.stages.warmup import TrainingRows
from semievol.tasks.labels import Labels

FATE = ("id", "answer", "response", "kept", "weight", "probability", "mean_nll", "agreement", "origin", "reason")
Row = dict[str, Any]


def write_training_data(config: Config, dataset: Dataset, form: str, output: Path) -> str:
    """Writes the rows in one of `FORMS`, and `<output>.about.jsonl` beside them, a line for each; says what it wrote.

    Raises:
        ConfigError: the run has selected nothing yet, or a chat does not fit into the form.
    """
    folder = RunFolder(config.output)
    with reaching(folder.path):
        examples, about = _rows(folder, config, dataset)
    chats = TrainingRows(dataset.task, examples)
    of_sets = dataset.task.labels_of if isinstance(dataset.task, Labels) else None
    rows = [
        FORMS[form](row, example, fate if of_sets is None else {**fate, "answer": sorted(of_sets(fate["answer"]))})
        for row, example, fate in zip(chats, examples, about, strict=True)
    ]
    is_one_list = form in ("label-studio", "argilla")
    _write(output, json.dumps(rows, ensure_ascii=False, indent=1) + "\n" if is_one_list else _lines(rows))
    beside = output.with_name(f"{output.name}.about.jsonl")
    _write(beside, _lines(about))
    pseudo = sum(fate["source"] == "pseudo" for fate in about)
    return f"{output}: {len(rows)} rows, {pseudo} of them pseudo-labeled; {beside.name} says how sure each is"


def _rows(folder: RunFolder, config: Config, dataset: Dataset) -> tuple[list[Example], list[Row]]:
    """Labeled rows, if the training has them, and kept ones, with what is known of each."""
    labeled = dataset.labeled if config.evolve.include_labeled else ()
    examples = list(labeled)
    about: list[Row] = [{"id": row.id, "source": "labeled", "answer": row.answer, "weight": 1.0} for row in labeled]
    has_solutions = any(row.response for row in dataset.labeled)
    kept = {fate["id"]: fate for fate in last_fates(selections_of(folder), FATE) if fate["kept"]}
    for example in dataset.unlabeled:
        if (fate := kept.get(example.id)) is not None:
            response = fate.pop("response")
            examples.append(replace(example, answer=fate["answer"], response=response if has_solutions else None))
            about.append({"id": fate.pop("id"), "source": "pseudo", **fate})
    return examples, about


def _chat(row: TrainingExample, example: Example, fate: Row) -> Row:
    return {"messages": [*row.messages, Message(role="assistant", content=row.response)]}


def _prompt_completion(row: TrainingExample, example: Example, fate: Row) -> Row:
    return {"prompt": list(row.messages), "completion": [Message(role="assistant", content=row.response)]}


def _alpaca(row: TrainingExample, example: Example, fate: Row) -> Row:
    system = [message["content"] for message in row.messages if message["role"] == "system"]
    *history, question = (message for message in row.messages if message["role"] != "system")
    roles = [message["role"] for message in history]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise ConfigError(f"--data alpaca: row {example.id!r} has turns that are no pairs; --data chat holds them")
    turns = [message["content"] for message in history]
    line: Row = {"instruction": question["content"], "input": "", "output": row.response}
    if system:
        line["system"] = "\n\n".join(system)
    if turns:
        line["history"] = [list(pair) for pair in zip(turns[::2], turns[1::2], strict=True)]
    return line


def _label_studio(row: TrainingExample, example: Example, fate: Row) -> Row:
    """The answer as Label Studio reads one: an annotation of a person's, a prediction of the model's."""
    task: Row = {"data": {"id": example.id, "text": example.prompt, "answer": row.response}}
    answer = fate["answer"]
    choices = answer if isinstance(answer, list) else [answer]
    choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": choices}}
    if fate["source"] == "labeled":
        return {**task, "annotations": [{"result": [choice]}]}
    score = {} if fate["probability"] is None else {"score": round(fate["probability"], 4)}
    return {**task, "predictions": [{"model_version": "semievol", "result": [choice], **score}]}


def _argilla(row: TrainingExample, example: Example, fate: Row) -> Row:
    """The answer as a suggestion of Argilla's to the question `label`; a response has to be of a user it knows."""
    is_labeled, score = fate["source"] == "labeled", fate.get("probability")
    suggestion: Row = {"value": fate["answer"], "agent": "labeled" if is_labeled else "semievol"}
    if score is not None:
        suggestion["score"] = round(score, 4)
    return {
        "id": example.id,
        "fields": {"text": example.prompt},
        "suggestions": {"label": suggestion},
        "metadata": {"source": fate["source"], "weight": fate["weight"]},
    }


def _lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


FORMS: Mapping[str, Callable[[TrainingExample, Example, Row], Row]] = {
    "chat": _chat,
    "prompt-completion": _prompt_completion,
    "alpaca": _alpaca,
    "label-studio": _label_studio,
    "argilla": _argilla,
}
"""The name of a form -> what makes a row of it, given the chat, the example, and what is known of it."""
