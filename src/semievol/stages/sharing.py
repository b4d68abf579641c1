"""What a run has in common with others, so that none computes what another has computed."""

from collections.abc import Mapping
from typing import Protocol

from semievol.backends import Backend
from semievol.config import Config
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.stage import Stage


class Sharing(Protocol):
    """The finished work of several runs."""

    def take(self, stage: Stage) -> bool:
        """Whether another run has finished the stage under the same key; then its results lie in the folder."""

    def leave(self, stage: Stage) -> None:
        """Leaves a finished stage for the other runs."""

    def answering(self, backend: Backend, config: Config, weights: Mapping[str, str]) -> Backend:
        """The backend, asked only what no other run has asked."""

    def paid_beside(self, folder: RunFolder) -> float:
        """Dollars that services have charged the other runs."""

    def close(self) -> None:
        """Frees what the runs share, if no other of them wants it."""


class Alone:
    """A run that has nothing in common with others."""

    def take(self, stage: Stage) -> bool:
        """No other run has finished anything."""
        return False

    def leave(self, stage: Stage) -> None:
        """Leaves it for nobody."""

    def answering(self, backend: Backend, config: Config, weights: Mapping[str, str]) -> Backend:
        """The backend itself."""
        return backend

    def paid_beside(self, folder: RunFolder) -> float:
        """No dollars: there are none."""
        return 0.0

    def close(self) -> None:
        """Frees the model that this process holds."""
        from semievol.local import free_memory

        free_memory()
