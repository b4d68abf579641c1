"""Ends a job that a run waits for."""

from collections.abc import Iterator

from semievol.config import Config
from semievol.errors import RunDirError
from semievol.run_dir import RunDir
from semievol.training.hosted import open_provider
from semievol.training.hosted.record import find_record


def cancel(config: Config) -> Iterator[str]:
    """A line for each job that was ended; the run that waits for it, if there is one, says so and stops.

    Raises:
        RunDirError: no job is under way.
        TrainingError: the service does not end it.
    """
    folder = RunDir(config.output)
    found = [(stage.name, find_record(stage.training_path)) for _, stage in folder.stages() if not stage.is_done]
    jobs = [(name, record.job) for name, record in found if record is not None and record.job is not None]
    if not jobs:
        raise RunDirError(f"{folder.path}: no job of this run is under way at a service")
    for name, job in jobs:
        provider = open_provider(config.recipe("warmup" if name == "warmup" else "evolve"))
        provider.cancel(job)
        yield f"{name}: the job {job} at {provider.rules.name} is cancelled"
