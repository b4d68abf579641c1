"""Ends a job that a run waits for."""

from collections.abc import Iterator

from semievol.config import Config
from semievol.errors import RunFolderError, SemiEvolError
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.stage import Stage
from semievol.training.folder import TrainingFolder
from semievol.training.hosted import open_provider
from semievol.training.hosted.record import find_record


def cancel(config: Config) -> Iterator[str]:
    """A line for each job that was ended; the run that waits for it, if there is one, says so and stops.

    Raises:
        RunFolderError: no job is under way.
        TrainingError: the service does not end it.
    """
    folder = RunFolder(config.output)
    lines = [cancel_job(config, stage) for _, stage in folder.stages()]
    if not any(lines):
        raise RunFolderError(f"{folder.path}: no job of this run is under way at a service")
    yield from (line for line in lines if line is not None)


def end_job(config: Config, stage: Stage, why: str) -> str | None:
    """Ends the job that a stage waits for, because nobody will; what came of it as a line, `None` without a job."""
    try:
        line = cancel_job(config, stage)
    except SemiEvolError as error:  # it has ended by itself, or the service is not the config's any more
        return f"{stage.name}: {why}, and its job was not cancelled: {error}"
    return None if line is None else f"{line}: {why}"


def cancel_job(config: Config, stage: Stage) -> str | None:
    """What was done to end the job that a stage waits for; `None` if there is none.

    Raises:
        TrainingError: the service does not end it.
    """
    record = find_record(TrainingFolder(stage).training_path)
    if stage.is_done or record is None or record.job is None:
        return None
    provider = open_provider(config.recipe("warmup" if stage.name == "warmup" else "evolve"))
    provider.cancel(record.job)
    return f"{stage.name}: the job {record.job} at {provider.rules.name} is cancelled"
