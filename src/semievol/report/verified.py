"""What `semievol verify` says of a run."""

from semievol.errors import RunFolderError
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.verifying import mend, verify
from semievol.terminal import visible


def print_inspection(folder: RunFolder, mends: bool) -> None:
    """Says what is damaged, and takes it away if that `mends` it.

    Raises:
        RunFolderError: something is damaged, and still there; or there is no run on a disk.
    """
    inspection = verify(folder)
    for line in (*inspection.lines, *inspection.damages.values(), *(mend(folder, inspection) if mends else ())):
        print(visible(line))
    looked_at = f"{inspection.files:,} files looked at"
    if inspection.unknown:
        looked_at += f", of {inspection.unknown:,} of which no sum was kept"
    if inspection.damages:
        raise RunFolderError(f"{folder.path}: {looked_at}, {len(inspection.damages):,} damaged")
    print(visible(f"{folder.path}: {looked_at}; " + ("the same command goes on" if mends else "the run is whole")))
