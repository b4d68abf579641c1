"""report.html: what a run did and what came of it, on one page that needs no network and no script."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from semievol.config import Config
from semievol.config import load as load_config
from semievol.costs.budget import costs, in_words
from semievol.data import Dataset
from semievol.report import charts
from semievol.report.headline import headline, remarks
from semievol.report.markdown import code, plain
from semievol.report.parts import Parts
from semievol.report.pseudo import PseudoLabels, pseudo_labels
from semievol.report.sources import Sources, read_sources
from semievol.report.stages import stage_facts
from semievol.report.table import NAMES, between, evolved_weights, percent, results_table
from semievol.run_folder.files import read_json, write_text
from semievol.run_folder.folder import RunFolder


def write_report(folder: RunFolder, dataset: Dataset | None = None) -> list[str]:
    """Writes report.html from whatever stages there are.

    Args:
        dataset: the run's rows, if they are loaded already; else they are read from their sources, and what
            needs them is left out where those are gone.

    Returns:
        The parts that could not be made and why, a line each; the page names them, too.

    Raises:
        ConfigError: there is no run in the folder.
    """
    config = load_config(folder.config_path)
    parts = Parts()
    contents = _contents(folder, config, parts, dataset)
    write_text(folder.report_path, environment().get_template("report.html").render(contents))
    return parts.left_out


def environment() -> Environment:
    """The templates; everything that is put into HTML is escaped."""
    environment = Environment(
        loader=PackageLoader("semievol.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    environment.filters["count"] = lambda value: "" if value is None else f"{value:,}".replace(",", "\u202f")
    environment.filters["seconds"] = seconds
    environment.filters["figure"] = lambda value: "" if value is None else f"{value:.3g}"
    environment.filters["between"] = between
    environment.filters["plain"] = plain
    environment.filters["code"] = code
    return environment


def seconds(value: float | None) -> str:
    """A duration for a person: `0.4 s`, `3:05 min`, `2:10 h`; empty for `None`."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def _contents(folder: RunFolder, config: Config, parts: Parts, dataset: Dataset | None) -> dict[str, Any]:
    """Everything that the template shows."""
    no_sources = Sources((), (), {}, None, "see below")
    sources = parts.make("the data", lambda: read_sources(config, dataset), no_sources)
    return {
        "name": folder.path.resolve().name,
        "folder": str(folder.path),
        "evolved": parts.make("the place of the model", lambda: evolved_weights(folder), None),
        "headline": parts.make("the headline", lambda: headline(folder), ""),
        "remarks": parts.make("the remarks", lambda: remarks(folder), []),
        "results": parts.make("the results", lambda: results_table(folder), []),
        "stages": parts.make("the stages", lambda: stage_facts(folder), []),
        "selections": list(_selections(folder, parts, sources)),
        "missing": sources.missing,
        "categories": parts.make("the categories", lambda: _categories(folder), None),
        "config": config,
        "yaml": yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        "sessions": parts.make("versions and machine", lambda: _sessions(folder), []),
        "costs": parts.make("the costs", lambda: in_words(costs(folder)), ""),
        "left_out": parts.left_out,
        "plot": {"width": charts.WIDTH, "height": charts.HEIGHT},
    }


def _sessions(folder: RunFolder) -> list[dict[str, Any]]:
    """The processes that worked on the run, with every fact that the page shows."""
    return [
        {
            "started": session["started"],
            "seconds": session.get("seconds"),
            "peak_memory_mb": session.get("peak_memory_mb"),
            "machine": "{processor}, {cores} cores, {system}".format_map(session["machine"]),
            "versions": {"Python": session["python"], **session["versions"]},
        }
        for session in folder.facts().get("sessions", [])
    ]


def _selections(folder: RunFolder, parts: Parts, sources: Sources) -> Iterator[PseudoLabels]:
    """What each round's selection says."""
    for round_, stage in folder.stages():
        if stage.name == "select" and stage.is_done:
            make = partial(pseudo_labels, round_, stage, sources)
            if part := parts.make(f"the pseudo-labels of round {round_}", make, None):
                yield part


def _categories(folder: RunFolder) -> dict[str, Any] | None:
    """Models, and for each category their figures; `None` if rows have no category."""
    stage = folder.stage("evaluate")
    if not stage.is_done:
        return None
    models = read_json(stage.metrics_path)["models"]
    with_categories = {key: figures["categories"] for key, figures in models.items() if "categories" in figures}
    if not with_categories:
        return None
    names = sorted({name for by_category in with_categories.values() for name in by_category})
    return {
        "models": [NAMES.get(key, key) for key in with_categories],
        "rows": [(name, [by_category.get(name) for by_category in with_categories.values()]) for name in names],
    }
