"""From a run to a folder that is enough by itself: weights, tokenizer, labels and prompt form, card.

PEFT, transformers and vLLM load it, and `semievol predict` takes it in place of a run. No row of the data is in it. It
appears whole, after its model has answered some rows as the run's does.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semievol.config import Config, build
from semievol.config.yaml_text import written
from semievol.data.trained_task import in_own_words, kept_rows, task_text, trained_task
from semievol.errors import ConfigError, ExportError
from semievol.predict.answering import fitted_to, weights_of
from semievol.predict.exported import Exported, exported
from semievol.progress import Reporter
from semievol.records import Example, Request, Response, Sampling
from semievol.report.card import Outside, card
from semievol.run_folder.files import readable_as
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import reaching, weights_on_disk
from semievol.stages.answerer import Answerer
from semievol.tasks import Task
from semievol.training.folder import check_weights

COMPARED_ROWS = 10
"""Labeled rows that run and export both answer before the export stands."""


@dataclass(frozen=True)
class Form:
    """How a model leaves its run."""

    merged: bool = False
    """Weights of a whole model, in place of an adapter's."""
    dtype: str = "auto"
    """The type of merged weights; `auto` is that in which the run's base is held."""
    compares: bool = True
    """Whether it has to answer as it does in the run."""


def export(config: Config, output: Path, form: Form, reporter: Reporter) -> list[str]:
    """Writes a run's evolved model to a folder that is new or an earlier export; says in lines what it came to.

    Raises:
        RunFolderError: the run has no such model yet, or its weights are damaged.
        ExportError: the model has no weights here, cannot be merged, or would answer otherwise than in the run.
        ConfigError: something else is at `output`.
    """
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and exported(output) is None)):
        raise ConfigError(f"--output {output}: is there and is no exported model; name a folder that is new")
    folder = RunFolder(config.output)
    with reaching(folder.path):
        weights, digest = weights_of(folder, "evolved")
        adapter = _adapter(weights["evolved"])
        config = fitted_to(config, folder)
        task, layout = trained_task(config, folder)
        rows = kept_rows(folder)
        mark = Exported(form.merged, digest)
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
            built = Path(scratch, "model")
            built.mkdir()
            own = _own_config(config, layout, _write_weights(config, folder, adapter, built, form))
            own_task, needed = in_own_words(config.task, task, rows)
            own = own.model_copy(update={"task": own_task})
            mark.write(built)
            content, left_out = card(folder, outside=Outside(form.merged))
            for name, text in (
                ("config.yaml", written(own.model_dump(mode="json", exclude_defaults=True))),
                ("task.json", task_text(own_task, layout, needed)),
                ("README.md", content),
            ):
                (built / name).write_text(text, encoding="utf-8")
            readable_as(built / "config.yaml", *built.glob("*.safetensors"))
            lines = [f"left out of the card: {part}" for part in left_out]
            if needed:
                lines.append("task.json holds the labeled rows: this task is made from them")
            if form.compares:
                outside = mark.config(own, built), mark.weights(built, "evolved")
                lines.append(_compared((config, weights), outside, task, rows, reporter, form))
            if output.exists():
                shutil.rmtree(output)
            built.rename(output)
    return [*lines, f"{output}: the evolved model, {'merged' if form.merged else 'as an adapter'}"]


def _adapter(where: str) -> Path:
    """The folder of the run's adapter, on this disk.

    Raises:
        ExportError: there is none.
        RunFolderError: it is damaged.
    """
    check_weights(where)
    folder = Path(weights_on_disk(where))
    if not folder.is_dir():
        raise ExportError(f"the evolved model is {where} at a service, which keeps its weights")
    return folder


def _own_config(config: Config, layout: str, model: Mapping[str, Any]) -> Config:
    """What answers need of the run's config: model, engine, task, and how rows are read; not where its data lay."""
    raw = config.model_dump(mode="json")
    kept = ("separator", "quotes", "columns", "answer_index", "max_prompt_words")
    return build(
        {
            "output": "exported",
            "model": {**raw["model"], **model},
            "task": raw["task"],
            "backend": raw["backend"],
            "data": {**{name: raw["data"][name] for name in kept}, "layout": layout, "unlabeled": None},
            "collaborate": {"max_tokens": config.longest},
            "evaluate": {"max_tokens": config.longest_at_test},
        }
    )


def _write_weights(config: Config, folder: RunFolder, adapter: Path, built: Path, form: Form) -> Mapping[str, Any]:
    """Weights and tokenizer; comes back with the options of `model` that are others than in the run."""
    if config.backend.kind == "fake":
        shutil.copytree(adapter, built, dirs_exist_ok=True)
        return {}
    from semievol.models.loading import load_tokenizer

    load_tokenizer(config.model).save_pretrained(built)
    if not form.merged:
        for path in (*adapter.glob("*.safetensors"), adapter / "adapter_config.json"):
            shutil.copy(path, built)
        described = json.loads((built / "adapter_config.json").read_text(encoding="utf-8"))
        described["base_model_name_or_path"] = config.model.name  # not where this machine keeps it
        (built / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        return {}
    from semievol.local.merging import save_merged

    held = config.model.dtype if config.model.dtype != "auto" else folder.facts()["dtype"]
    dtype = held if form.dtype == "auto" else form.dtype
    save_merged(config.model, adapter, built, dtype)
    return {"name": ".", "revision": None, "dtype": dtype}


Answering = tuple[Config, Mapping[str, str]]
"""A config, and where the weights beside the base's lie."""


def _compared(
    inside: Answering, outside: Answering, task: Task, rows: Sequence[Example], reporter: Reporter, form: Form
) -> str:
    """A line on how alike run and export answer.

    Raises:
        ExportError: an answer is another one.
    """
    half = COMPARED_ROWS // 2
    chosen = list(rows) if len(rows) <= COMPARED_ROWS else [*rows[:half], *rows[-half:]]
    of_run, of_export = (_answers(*answering, task, chosen, reporter) for answering in (inside, outside))
    differ = sum(one.text != other.text for one, other in zip(of_run, of_export, strict=True))
    if differ:
        advice = "; --dtype float32 keeps all of a small update" if form.merged and form.dtype != "float32" else ""
        raise ExportError(f"{differ} of {len(chosen)} rows are answered otherwise than in the run{advice}")
    gaps = [
        abs(one.mean_nll - other.mean_nll)
        for one, other in zip(of_run, of_export, strict=True)
        if one.mean_nll is not None and other.mean_nll is not None
    ]
    apart = f", their mean NLL at most {max(gaps):.4f} nats apart" if gaps else ""
    return f"{len(chosen)} rows are answered as in the run{apart}"


def _answers(
    config: Config, weights: Mapping[str, str], task: Task, rows: Sequence[Example], reporter: Reporter
) -> list[Response]:
    """The evolved model's answers, in the order of the rows."""
    answerer = Answerer(config, (), weights, reporter)
    sampling = Sampling(max_tokens=config.longest_at_test, stop=task.stops())
    name = "evolved" if weights else "base"
    requests = [Request(str(number), task.messages(row), name, sampling) for number, row in enumerate(rows)]
    try:
        by_id = {response.id: response for response in answerer.backend.generate(requests)}
    finally:
        answerer.close()
    return [by_id[request.id] for request in requests]
