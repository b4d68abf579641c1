"""A folder with an evolved model that has left its run, and all that is needed to ask it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from semievol.config import Config
from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder.files import write_text

MARK = "semievol.json"
"""Beside the weights: what they are."""


@dataclass(frozen=True)
class Exported:
    """What the mark says."""

    merged: bool
    """Whether the weights are a whole model's, and not those of an adapter."""
    digest: str
    """Stands for the training that made them."""

    def weights(self, path: Place, model: str) -> dict[str, str]:
        """What the engine has beside the base's weights, which are the model's own if they are merged.

        Raises:
            RunFolderError: it is another model.
        """
        if model == "evolved":
            return {} if self.merged else {model: str(path)}
        if model == "base" and not self.merged:
            return {}
        raise RunFolderError(f"{path} holds the evolved model and not the {model} one")

    def config(self, config: Config, path: Place) -> Config:
        """The config, with the folder's own weights as the base's if they are merged."""
        if not self.merged:
            return config
        return config.model_copy(update={"model": config.model.model_copy(update={"name": str(path)})})

    def write(self, path: Place) -> None:
        """Leaves the mark in a folder."""
        write_text(path / MARK, json.dumps(asdict(self), indent=2) + "\n")


def exported(path: Place) -> Exported | None:
    """What lies in a folder; `None` if it is no exported model.

    Raises:
        RunFolderError: its mark cannot be read.
    """
    if not (path / MARK).exists():
        return None
    try:
        content: Mapping[str, Any] = json.loads((path / MARK).read_text(encoding="utf-8"))
        return Exported(bool(content["merged"]), str(content["digest"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path / MARK} is damaged; export the model again") from error
