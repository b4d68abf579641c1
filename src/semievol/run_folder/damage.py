"""What is said of a run's file that a disk or a person has damaged, and what can be done about it."""

from semievol.config.places import Place
from semievol.errors import RunFolderError
from semievol.run_folder import STAGES

_MEND = "after semievol verify --mend the same command "
_ADVICE = {
    "run.json": _MEND + "writes it again; times, versions and the measured type of the weights are lost, and no result",
    "done.json": _MEND + "finishes the stage again from what lies beside it",
    "metrics.json": _MEND + "computes it again from the answers beside it",
    "key.json": "put it back from a copy, or choose another output: nobody knows any more with which settings the "
    "results beside it were made",
    "job.json": "remove it; the training at the service is not found again, and another one is started and paid",
}
"""What to do about a file that is damaged, and what is lost by that."""


def damaged(path: Place, why: str) -> RunFolderError:
    """The error of a run's file that cannot be used: what to do about it, and what that costs."""
    advice = _advice(path)
    return RunFolderError(f"{path}: damaged: {why}" + (f"; {advice}" if advice else ""))


def _advice(path: Place) -> str | None:
    parts = path.as_posix().split("/")
    stage = next((part for part in reversed(parts[:-1]) if part in STAGES), None)
    if advice := _ADVICE.get(path.name):
        return advice
    if path.name.endswith(".failed.json"):
        return _MEND + "goes on; only the reasons of the failures are lost"
    if path.name.startswith("part-"):
        return _MEND + "asks its shard again, for which a service is paid again"
    if stage == "evaluate" and path.suffix == ".parquet":
        return _MEND + "asks that model the test rows again, for which a service is paid again"
    if stage in ("justify", "select"):
        return _MEND + "makes it again from the answers"
    if stage is not None:
        return (
            f"--redo {stage} makes this stage and the later ones anew, and removes what they hold, "
            "answers that were paid for too"
        )
    return None
