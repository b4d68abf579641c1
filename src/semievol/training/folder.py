"""What a training leaves in the folder of its stage."""

import shutil
from pathlib import Path

from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder.damage import damaged
from semievol.run_folder.place import at_address, move, on_disk, sync_files, sync_folder
from semievol.run_folder.stage import Stage
from semievol.run_folder.sums import check


class TrainingFolder:
    """The weights of a stage, or what is known of them at a service; and what a training under way keeps."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self.path = stage, stage.path

    @property
    def adapter_path(self) -> Place:
        """What a training stage leaves: the weights, or what is known of their training at a service."""
        return self.path / "adapter"

    @property
    def training_path(self) -> Place:
        """What a training under way keeps; becomes `adapter_path`, and at an address, which cannot rename, is it."""
        return self.adapter_path if at_address(self.path) else self.path / "adapter.partial"

    def prepared(self, hosted: bool) -> Place:
        """The folder for a trainer to fill, with what a training that was killed has left there.

        At an address only what is known of a training at a service is kept there; others go on from this machine's
        disk, and start again on another machine.
        """
        if at_address(self.path):
            if hosted:
                return self.training_path
            folder = on_disk(self.path / "adapter.partial") / self._stage.digest
            for stale in folder.parent.glob("*"):
                if stale != folder:  # of rows or settings of before
                    shutil.rmtree(stale)
            return folder
        adapter, training = on_disk(self.adapter_path), on_disk(self.training_path)
        if adapter.exists():  # killed before the stage was marked as done
            shutil.rmtree(training, ignore_errors=True)
            adapter.rename(training)
        return training

    def take(self, folder: Place) -> None:
        """Makes what a trainer has left in `folder` the stage's.

        Raises:
            RunFolderError: there is nothing: processes on another machine have written to their own disk.
        """
        if at_address(folder):
            return
        if not folder.is_dir():
            raise RunFolderError(
                f"{folder}: the training has left nothing on this machine's disk; "
                "where other machines train, set output to a path on a disk that all share"
            )
        if not at_address(self.path):
            sync_files(on_disk(folder))
        move(on_disk(folder), self.adapter_path)
        if not at_address(self.path):
            sync_folder(on_disk(self.path))

    @property
    def weights(self) -> str:
        """Where a finished training's weights lie: a folder, or the name of a model at a service."""
        return str(self._stage.summary().get("model") or self.adapter_path)

    def check(self) -> None:
        """Raises RunFolderError if the weights are not those that the training left, as far as that is known.

        Raises:
            RunFolderError: a file of theirs is gone, or another one.
        """
        for name in self._stage.sums():
            path = self.path / name
            if not path.exists():
                raise damaged(path, "it is gone")
            check(path)


def check_weights(where: str) -> None:
    """Raises RunFolderError if weights of a stage on a disk are not as it left them; other weights are not looked at.

    Raises:
        RunFolderError: a file of theirs is gone, or another one.
    """
    folder = Path(where)
    if "://" not in where and folder.name == "adapter" and (stage := Stage(folder.parent)).is_done:
        TrainingFolder(stage).check()
