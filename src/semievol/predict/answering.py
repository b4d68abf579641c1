"""From a run's folder and new rows to answers, which are on disk as they arrive."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semievol.config import Config, changed
from semievol.costs.budget import open_budget
from semievol.data import digest
from semievol.data.sources import resolve
from semievol.data.trained_task import trained_task
from semievol.errors import ConfigError, RunFolderError, Stopped
from semievol.predict.exported import exported
from semievol.predict.inputs import Input, Inputs, read_inputs
from semievol.predict.outputs import lines, named, write_predictions
from semievol.progress import Reporter
from semievol.records import Request, Response, Sampling
from semievol.run_folder.files import write_text
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.journal import Journal
from semievol.run_folder.place import reaching
from semievol.stages.answerer import Answerer
from semievol.stages.evaluate import answer_row
from semievol.tasks import Task
from semievol.training.folder import TrainingFolder

OWN = ("id", "answer", "probability", "mean_nll", "finish", "text", "error")
"""What is said of each row: its id, the answer read from the response, the response's probability and mean NLL in nats
per token, how it ended, the response itself, and why there is none."""
KEY, ANSWERS = "key.json", "answers.jsonl"


def predict(config: Config, model: str, source: str | list[str], output: str, reporter: Reporter) -> str:
    """Answers every row of `source` and writes them to `output`; says how many have no answer.

    With a file as output, answers are kept in a folder beside it, `<output>.partial`, until the file stands: the same
    call goes on from there. A row that cannot be answered has the reason in its `error`.

    Args:
        config: of the run, whose folder holds all that is needed.
        model: `base`, `warm` or `evolved`.
        source: a file of rows, `-` for standard input, or prompts.
        output: a file, or `-` for standard output.

    Raises:
        RunFolderError: the run has no such model yet, or what lies beside the output are answers to something else.
        ConfigError: the output cannot be written, or is the input.
        Stopped: the user asked to stop.
        BudgetError: the next request could cost more than `costs.max_cost` leaves.
    """
    folder = RunFolder(config.output)
    target = None if output == "-" else _target(output, source)
    with reaching(folder.path):
        weights, made_from = weights_of(folder, model)
        config = fitted_to(config, folder)
        task, layout = trained_task(config, folder)
        inputs = read_inputs(config, task, layout, source)
        examples = [row.example for row in inputs.rows if row.example is not None]
        key = _key(config, model, made_from, task, inputs)
        budget = open_budget(config, folder)
        answerer = Answerer(config, (), weights, reporter, budget)
        sampling = Sampling(max_tokens=config.longest_at_test, stop=task.stops())
        name = model if model in weights else "base"
        requests = [Request(example.id, task.messages(example), name, sampling) for example in examples]
        try:
            with _kept(target, key) as place:
                journal = Journal(place / ANSWERS)
                answered_before = len(journal.read())
                with reporter.stage("predict", len(requests), "answers", answered_before):
                    responses = answerer.answer(requests, journal)
                columns, rows = _table(task, inputs, responses)
                if target is None:
                    print("".join(lines(rows)), end="")
                else:
                    write_predictions(target, columns, rows)
                    _settle(place, responses)
        except Stopped:
            if target is None:
                raise Stopped("stopped; without --output nothing is kept to go on from") from None
            raise
        finally:
            answerer.close()
            budget.close()
    return _summary(rows, columns, responses.values(), target)


def require_model(config: Config, model: str) -> None:
    """Nothing, if the run has the model; to be asked before the run's folder is touched.

    Raises:
        RunFolderError: it has not.
    """
    folder = RunFolder(config.output)
    with reaching(folder.path):
        weights_of(folder, model)


def fitted_to(config: Config, folder: RunFolder) -> Config:
    """The config with the run's number for `collaborate.max_tokens: auto`, and the day that its template writes.

    Of a model that has left its run with its weights merged, these are the base's.

    Raises:
        ConfigError: the run has kept no number.
    """
    if (model_outside := exported(folder.path)) is not None:
        return model_outside.config(config, folder.path)
    if config.model.date is None and (date := folder.facts().get("date")):
        config = config.model_copy(update={"model": config.model.model_copy(update={"date": date})})
    if config.collaborate.max_tokens != "auto":
        return config
    most = folder.facts().get("max_tokens")
    if most is None:
        raise ConfigError(f"{folder.path} does not know how long its answers were; set collaborate.max_tokens")
    return changed(config, {"collaborate": {"max_tokens": most}})


def _target(output: str, source: str | list[str]) -> Path:
    """The file to write, which can be written and is not the one that is read.

    Raises:
        ConfigError: it cannot, or is.
        DataError: there is no such input.
    """
    path = Path(output)
    if path.is_dir():
        raise ConfigError(f"--output {output}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {path.parent}")
    parts = () if source == "-" or isinstance(source, list) else resolve("--input", source).parts
    if path.exists() and any(Path(part).exists() and path.samefile(part) for part in parts):
        raise ConfigError(f"--output {output}: is the input, which would be lost; name another file")
    return path


def weights_of(folder: RunFolder, model: str) -> tuple[dict[str, str], str]:
    """The model's weights for the engine, and what stands for them in a key.

    Raises:
        RunFolderError: the run has no such model yet, or an export holds another one.
    """
    if (model_outside := exported(folder.path)) is not None:
        return model_outside.weights(folder.path, model), model_outside.digest
    if model == "base":
        return {}, "base"
    stage = "warmup" if model == "warm" else "evolve"
    stages_done = [s for _, s in folder.stages() if s.name == stage and s.is_done]
    if not stages_done:
        raise RunFolderError(f"{folder.path}: no {model} model yet; semievol run makes it")
    trained_by = stages_done[0] if model == "warm" else stages_done[-1]
    return {model: TrainingFolder(trained_by).weights}, trained_by.digest


def _key(config: Config, model: str, made_from: str, task: Task, inputs: Inputs) -> str:
    """Stands for everything that the answers depend on."""
    examples = [row.example for row in inputs.rows if row.example is not None]
    content = {
        "model": config.model.identity(),
        "backend": config.backend.model_dump(mode="json"),
        "weights": [model, made_from],
        "max_tokens": config.longest_at_test,
        "prompts": [task.messages(example) for example in examples[:1]],  # the task's words; the rows' are below
        "rows": digest(examples),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def _kept(target: Path | None, key: str) -> Iterator[Path]:
    """The folder of the answers so far; a temporary one if the output is no file."""
    if target is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    place = target.with_name(f"{target.name}.partial")
    place.mkdir(exist_ok=True)
    if not (place / KEY).exists():
        write_text(place / KEY, json.dumps({"key": key}) + "\n")
    elif json.loads((place / KEY).read_text(encoding="utf-8")).get("key") != key:
        raise RunFolderError(
            f"{place} holds answers to other rows, or of another model; name another output, or remove that folder "
            "and lose them"
        )
    yield place


def _settle(place: Path, responses: Mapping[str, Response]) -> None:
    """Removes the folder of answers, unless requests failed in a way that may not come again."""
    if any(response.finish == "error" and not response.permanent for response in responses.values()):
        return
    for name in (ANSWERS, KEY):
        (place / name).unlink(missing_ok=True)
    place.rmdir()


def _table(task: Task, inputs: Inputs, responses: Mapping[str, Response]) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns, and the rows in the order of the input."""
    names = named(inputs.columns, OWN)
    if "id" in inputs.columns:
        names.pop("id")
    own_cells = [_said(task, row, responses) for row in inputs.rows]
    rows = [
        {**row.cells, **{names[name]: value for name, value in cells.items() if name in names}}
        for row, cells in zip(inputs.rows, own_cells, strict=True)
    ]
    return [*inputs.columns, *names.values()], rows


def _said(task: Task, row: Input, responses: Mapping[str, Response]) -> dict[str, Any]:
    """What stands in our columns of a row."""
    cells: dict[str, Any] = dict.fromkeys(OWN) | {"id": row.id, "error": row.error}
    if row.example is None:
        return cells
    response = responses[row.example.id]
    if response.finish == "error":
        return cells | {"finish": "error", "error": response.error}
    answer = answer_row(task, row.example, response)
    return (
        cells
        | {name: getattr(answer, name) for name in ("answer", "probability", "mean_nll", "text")}
        | {"finish": response.finish}
    )


def _summary(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], responses: Any, target: Path | None) -> str:
    """How many rows were answered, in words."""
    error, answer = columns[-1], columns[-6]
    failed = sum(row[error] is not None for row in rows)
    unread = sum(row[error] is None and row[answer] is None for row in rows)
    cut_count = sum(response.finish == "length" for response in responses)
    line = f"predict: {len(rows) - failed - unread} of {len(rows)} rows answered"
    line += f", {unread} responses without a readable answer" if unread else ""
    line += f", {cut_count} cut for their length" if cut_count else ""
    line += f", {failed} rows failed: see {error!r}" if failed else ""
    if target is not None and any(response.finish == "error" and not response.permanent for response in responses):
        line += "; the same command asks those again that may be answered then"
    return line
