"""report.html: what a run did and what came of it, on one page that needs no network and no script."""

from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from semievol.config import load as load_config
from semievol.costs import costs, in_words
from semievol.data import Dataset
from semievol.files import read_json, write_text
from semievol.report import charts
from semievol.report.headline import headline, remarks
from semievol.report.pseudo import pseudo_labels
from semievol.report.sources import read_sources
from semievol.report.stages import stage_facts
from semievol.report.table import NAMES, between, evolved_weights, percent, results_table
from semievol.run_dir import RunDir


def write_report(folder: RunDir, dataset: Dataset | None = None) -> None:
    """Writes report.html from whatever stages there are.

    Args:
        dataset: the run's rows, where they are loaded already; else they are read from their sources, and what
            needs them is left out where those are gone.

    Raises:
        ConfigError: there is no run in the folder.
        RunDirError: a file of the run is damaged.
    """
    write_text(folder.report_path, environment().get_template("report.html").render(_contents(folder, dataset)))


def environment() -> Environment:
    """The templates; everything that is put into HTML is escaped."""
    found = Environment(
        loader=PackageLoader("semievol.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["percent"] = percent
    found.filters["count"] = lambda value: "" if value is None else f"{value:,}".replace(",", "\u202f")
    found.filters["seconds"] = seconds
    found.filters["figure"] = lambda value: "" if value is None else f"{value:.3g}"
    found.filters["between"] = between
    found.filters["cell"] = markdown_cell
    return found


def seconds(value: float | None) -> str:
    """A duration for a person: `0.4 s`, `3:05 min`, `2:10 h`; empty for `None`."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def markdown_cell(value: object) -> str:
    """A text that stays in its cell of a Markdown table, and is read as text."""
    plain = " ".join(str(value).split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|" else char for char in plain)


def _contents(folder: RunDir, dataset: Dataset | None) -> dict[str, Any]:
    """Everything that the template shows."""
    config = load_config(folder.config_path)
    sources = read_sources(config, dataset)
    facts = folder.facts()
    return {
        "name": folder.path.resolve().name,
        "folder": str(folder.path),
        "evolved": evolved_weights(folder),
        "headline": headline(folder),
        "remarks": remarks(folder),
        "results": results_table(folder),
        "stages": stage_facts(folder),
        "selections": [
            pseudo_labels(round_, stage, sources)
            for round_, stage in folder.stages()
            if stage.name == "select" and stage.is_done
        ],
        "missing": sources.missing,
        "categories": _categories(folder),
        "config": config,
        "yaml": yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        "sessions": facts.get("sessions", []),
        "costs": in_words(costs(folder)),
        "plot": {"width": charts.WIDTH, "height": charts.HEIGHT},
    }


def _categories(folder: RunDir) -> dict[str, Any] | None:
    """Models, and for each category their figures; `None` where rows have no category."""
    stage = folder.stage("evaluate")
    if not stage.is_done:
        return None
    models = read_json(stage.metrics_path)["models"]
    with_categories = {key: found["categories"] for key, found in models.items() if "categories" in found}
    if not with_categories:
        return None
    names = sorted({name for found in with_categories.values() for name in found})
    return {
        "models": [NAMES.get(key, key) for key in with_categories],
        "rows": [(name, [found.get(name) for found in with_categories.values()]) for name in names],
    }
