"""README.md of a run: the model card of the evolved adapter, as the Hugging Face hub shows it."""

import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from semievol.config import Config
from semievol.config import load as load_config
from semievol.data import Dataset, load
from semievol.errors import SemiEvolError
from semievol.records import Example
from semievol.report.headline import headline, remarks
from semievol.report.markdown import fenced
from semievol.report.page import environment
from semievol.report.parts import Parts
from semievol.report.table import evolved_weights, markdown, results_table
from semievol.run_folder.files import write_text
from semievol.run_folder.folder import RunFolder

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Outside:
    """A model that lies beside its card, and not in a run folder."""

    merged: bool
    """Whether its weights are a whole model's."""


def write_card(folder: RunFolder, dataset: Dataset | None = None) -> list[str]:
    """Writes the model card from whatever stages there are.

    Args:
        dataset: the run's rows, if they are loaded already; the prompt is shown only if they can be read.

    Returns:
        The parts that could not be made and why, a line each.

    Raises:
        ConfigError: there is no run in the folder.
    """
    content, left_out = card(folder, dataset)
    write_text(folder.card_path, content)
    return left_out


def card(folder: RunFolder, dataset: Dataset | None = None, outside: Outside | None = None) -> tuple[str, list[str]]:
    """The card, and the parts that could not be made with the reason; arguments and errors as `write_card`."""
    config = load_config(folder.config_path)
    parts = Parts()
    evolved = parts.make("the place of the model", lambda: evolved_weights(folder), None)
    adapter = os.path.relpath(evolved.where, str(folder.path)) if evolved and not evolved.hosted else None
    content = (
        environment()
        .get_template("card.md")
        .render(
            base_model=_hub_id(config),
            hosted=_provider(config),
            front=yaml.safe_dump(_front(folder, config, parts, outside), sort_keys=False, allow_unicode=True),
            name=folder.path.resolve().name,
            config=config,
            recipe=config.recipe("evolve"),
            adapter="." if outside and adapter else adapter,
            outside=outside,
            model=evolved.where if evolved and evolved.hosted else None,
            version=parts.make("the version", lambda: _version(folder), ""),
            trained=parts.make("the rows of the training", lambda: _trained(folder), None),
            headline=parts.make("the headline", lambda: headline(folder), ""),
            remarks=parts.make("the remarks", lambda: remarks(folder), []),
            table=parts.make("the results", lambda: markdown(folder), ""),
            prompt=parts.make("the prompt", lambda: _prompt(config, dataset), None),
        )
    )
    return content, parts.left_out


def _front(folder: RunFolder, config: Config, parts: Parts, outside: Outside | None) -> dict[str, Any]:
    """The front matter. `base_model` must be a hub id, or the hub refuses the card; the license is the user's."""
    is_adapter = _provider(config) is None and not (outside and outside.merged)
    library = "peft" if is_adapter else "transformers"
    front: dict[str, Any] = {} if _provider(config) else {"library_name": library}
    front["pipeline_tag"] = "text-generation"
    if base_model := _hub_id(config):
        front["base_model"] = base_model
    front["tags"] = ["semievol", *(["lora"] if is_adapter else []), "semi-supervised", "pseudo-labels"]
    if index := parts.make("the figures for the hub", lambda: _model_index(folder), None):
        front["model-index"] = [index]
    return front


def _model_index(folder: RunFolder) -> dict[str, Any] | None:
    """The evolved model's figures on the test rows as the hub reads them, each between 0 and 1; `None` without any."""
    evolved = next((row for row in results_table(folder) if row.key == "evolved"), None)
    if evolved is None or evolved.accuracy is None:
        return None
    name = f"Accuracy (95 % interval {evolved.low:.4f} to {evolved.high:.4f})"
    figures = [("accuracy", name, evolved.accuracy)]
    if evolved.macro_f1 is not None:
        figures.append(("f1", "Macro-F1", evolved.macro_f1))
    return {
        "name": folder.path.resolve().name,
        "results": [
            {
                "task": {"type": "text-generation"},
                "dataset": {"name": f"{evolved.rows} test rows of the user's", "type": "private", "split": "test"},
                "metrics": [{"type": kind, "name": label, "value": round(value, 4)} for kind, label, value in figures],
            }
        ],
    }


def _provider(config: Config) -> str | None:
    """The service whose fine-tuning made the model; `None` for an adapter."""
    recipe = config.recipe("evolve")
    return recipe.hosted.provider if recipe.kind == "hosted" else None


def _hub_id(config: Config) -> str | None:
    """The base model's id on the hub; `None` if it comes from elsewhere."""
    name = config.model.name
    return name if _HUB_ID.fullmatch(name) and not Path(name).exists() else None


def _trained(folder: RunFolder) -> dict[str, int] | None:
    """Rows of the last training: all, labeled by the user, and pseudo-labeled; `None` before there is one."""
    stages = [(round_, stage) for round_, stage in folder.stages() if stage.name == "evolve" and stage.is_done]
    if not stages:
        return None
    kept = [
        stage.summary()["kept"]
        for round_, stage in folder.stages()
        if stage.name == "select" and stage.is_done and round_ <= stages[-1][0]
    ]
    config = load_config(folder.config_path)
    total = int(stages[-1][1].summary()["rows"])
    # Without the labeled rows, each round trains on its own pseudo-labels; with them, also on those of earlier rounds.
    pseudo = sum(kept) if config.evolve.include_labeled else kept[-1]
    return {"rows": total, "labeled": total - pseudo, "pseudo": pseudo, "unlabeled": _unlabeled(folder)}


def _unlabeled(folder: RunFolder) -> int:
    return int(folder.stage("select").summary()["rows"])


def _version(folder: RunFolder) -> str:
    sessions = folder.facts().get("sessions") or [{}]
    return str(sessions[-1].get("versions", {}).get("semievol", ""))


def _prompt(config: Config, dataset: Dataset | None) -> str | None:
    """The chat that the model was trained on, with a stand-in for the row, as a fenced block of Markdown.

    `None` if the data is gone.
    """
    try:
        task = (dataset or load(config)).task
    except SemiEvolError:
        return None
    options = ("first option", "second option") if config.data.columns.options else ()
    messages = task.messages(Example("example", "YOUR TEXT", options=options))
    return fenced("\n\n".join(f"{message['role']}: {message['content']}" for message in messages))
