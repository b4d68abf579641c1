"""Writes a config to start from."""

from importlib.resources import files
from pathlib import Path

from semievol.errors import ConfigError


def template() -> str:
    """The commented config."""
    return files("semievol.config").joinpath("semievol.yaml").read_text(encoding="utf-8")


def write_config(path: Path, *, force: bool = False) -> None:
    """Writes the commented config to `path`.

    Raises:
        ConfigError: there is a file already, or it cannot be written.
    """
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; --force overwrites it")
    try:
        path.write_text(template().replace("semievol.yaml", path.name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
