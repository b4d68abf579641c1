"""From a YAML file and the command line to a checked config, and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from semievol.config.options import Config
from semievol.config.paths import expanded, is_there, path_of, sibling_like
from semievol.config.places import Place
from semievol.config.section import explain
from semievol.config.yaml_text import parsed, written
from semievol.errors import ConfigError

CONFIG, FACTS = "config.yaml", "run.json"
"""In a run folder: the config as resolved; versions, machine, times and tokens."""

SOURCES = ("labeled", "unlabeled", "test")
"""Options of `data` that name files."""

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    # The authors' released code as METHOD describes it: four warm passes on the plain prompt, unanimous rows all
    # kept, justified ones filtered at the 30th percentile, training continued on pseudo-labels alone.
    "released": {
        "retrieval": {"enabled": False},
        "collaborate": {"collaborators": [{"weights": "warm", "examples": 0}] * 4},
        "select": {"scope": "justified", "theta": 0.3},
        "evolve": {
            "start_from": "warm",
            "include_labeled": False,
            "training": {"learning_rate": 1e-6},
        },
    },
    # Beyond the paper: a cross-fitted committee and independent views, one calibrated distribution, every row by its
    # probability.
    "trusted": {
        "retrieval": {"enabled": False},
        "warmup": {"folds": 4},
        "collaborate": {"how": "score", "collaborators": [{"weights": "warm", "examples": 0}]},
        "justify": {"mode": "pool"},
        "select": {"rule": "weights"},
    },
}
TRUSTED_SAMPLES: dict[str, Any] = {
    "warmup": {"folds": 4},
    "justify": {"calibrate": True},
    "select": {"rule": "weights"},
}
"""The preset `trusted` where answers cannot be scored: those of an open set, and those of a service."""


MOST_BYTES = 16 * 2**20
"""Of a config; one that is longer is some other file."""


def load(source: str | Place, overrides: Sequence[str] = ()) -> Config:
    """The config in a YAML file or of a run folder, with `section.option=value` overrides applied.

    A run that was moved or copied is where it lies now: its `output` is the folder that is named, whatever the config
    in it says. That holds for the `config.yaml` of a run folder, too. Files of `data` are looked for where the command
    runs, and then beside the config.

    Raises:
        ConfigError: the file cannot be read, or an option is unknown or impossible.
    """
    place = path_of(expanded(source)) if isinstance(source, str) else source
    folder = _run_folder(place)
    path = place if folder is None else folder / CONFIG
    try:
        if isinstance(path, Path) and is_there(path) and (not path.is_file() or path.stat().st_size > MOST_BYTES):
            raise ConfigError(f"{path}: a config is a file of at most {MOST_BYTES // 2**20} MB")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        if folder is not None:
            raise ConfigError(f"{folder}: no config file, and no run's folder: it has no {CONFIG}") from error
        raise ConfigError(f"{path}: {error.strerror or error}{_nearest(path)}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    raw = parsed(text, str(path))
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected sections with options, found {type(raw).__name__}")
    if folder is not None:
        raw["output"] = str(folder)
    elif isinstance(path, Path) and isinstance(raw.get("data"), dict):
        sources = {name: _beside(path.parent, raw["data"][name]) for name in SOURCES if name in raw["data"]}
        raw["data"] = {**raw["data"], **sources}
    return build(raw, overrides, source=str(path))


def _beside(folder: Path, source: Any) -> Any:
    """The option of `data`; a file that is not where the command runs and is beside the config, with that place."""
    if isinstance(source, list):
        return [_beside(folder, part) for part in source]
    if not isinstance(source, str) or source.startswith(("$", "~")) or ":" in source or is_there(Path(source)):
        return source
    beside = folder / source
    has_it = is_there(beside) or ("*" in source and next(folder.glob(source), None) is not None)
    return str(beside) if has_it and not Path(source).is_absolute() else source


def _nearest(path: Place) -> str:
    """What has nearly that name, for a slip in it; or where a path that is not absolute was looked for."""
    if near := sibling_like(path):
        return f"; did you mean {path.parent / near}?"
    return f" in {Path.cwd()}" if isinstance(path, Path) and not path.is_absolute() else ""


def _run_folder(place: Place) -> Place | None:
    """The run folder that is named, itself or by its config; `None` if a config of the user's is named."""
    if place.is_dir():
        return place
    return place.parent if place.name == CONFIG and (place.parent / FACTS).exists() else None


def build(raw: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "config") -> Config:
    """A checked config from nested options: preset first, then `raw`, then `overrides`.

    Raises:
        ConfigError: an option is unknown (the nearest known one is named) or impossible.
    """
    sections = {name: section for name, section in raw.items() if section is not None}  # `select:` alone in YAML
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {override}: expected section.option=value")
        nested: Any = parsed(value, f"--set {override}") if value else None
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        sections = _merged(sections, nested)
    preset = sections.get("preset", "paper")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ConfigError(f"{source}: preset: {preset!r} is not one of {', '.join(PRESETS)}")
    return _checked(_merged(_preset(preset, sections), sections), source)


def _preset(name: str, sections: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a preset sets, given what the rest of the config says of task and engine."""

    def option(section: str) -> Any:
        options = sections.get(section)
        return options.get("kind") if isinstance(options, Mapping) else None

    cannot_score = option("task") in ("labels", "number", "free_text") or option("backend") == "openai"
    return TRUSTED_SAMPLES if name == "trusted" and cannot_score else PRESETS[name]


def dump(config: Config) -> str:
    """The complete config as YAML; loading it gives the same config."""
    return written(config.model_dump(mode="json"))


def changed(config: Config, *changes: Mapping[str, Any]) -> Config:
    """The config with nested options replaced, later changes winning; its preset is not applied again.

    Raises:
        ConfigError: an option is unknown or impossible.
    """
    raw = config.model_dump(mode="json")
    for change in changes:
        raw = _merged(raw, change)
    return _checked(raw, "config")


def schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors."""
    return Config.model_json_schema()


def _checked(raw: Mapping[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, Config)}") from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings joined, `above` winning."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
