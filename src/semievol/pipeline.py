"""The method, start to finish: six stages in the paper's order."""

import dataclasses
import importlib.metadata
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from semievol.backends import BACKENDS
from semievol.config import Config, ModelConfig, dump
from semievol.costs.budget import costs, open_budget
from semievol.data import Dataset, StoredExamples, load, read_answers, store
from semievol.data.trained_task import described_task
from semievol.errors import ConfigError, RunFolderError
from semievol.executors import Executor, open_executor
from semievol.forecast.lengths import fitted
from semievol.forecast.needs import require_engine, require_ready
from semievol.local import free_memory
from semievol.local.families import checked_model, is_local, writes_chats
from semievol.models.loading import writes_the_date
from semievol.plugins import implementation
from semievol.progress import Reporter
from semievol.records import Example
from semievol.run_folder import STAGES
from semievol.run_folder.files import read_json, write_bytes, write_text
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import reaching
from semievol.run_folder.stage import Stage
from semievol.session import commit
from semievol.stages.collaborate import collaborate
from semievol.stages.context import Round
from semievol.stages.evaluate import evaluate
from semievol.stages.evolve import decisions, evolve, labeled_and_selected
from semievol.stages.justify import justify
from semievol.stages.redo import made_anew, remove_replaced, settle
from semievol.stages.select import select
from semievol.stages.warmup import warmup
from semievol.stages.worker import Shared, Worker
from semievol.training.folder import TrainingFolder

logger = logging.getLogger(__name__)

PACKAGES = (
    "semievol",
    "torch",
    "transformers",
    "peft",
    "trl",
    "sentence-transformers",
    "faiss-cpu",
    "bm25s",
    "openai",
    "numpy",
)


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    path: Path
    """The run folder."""
    weights: str | None
    """The evolved model's adapter folder, or its name at a service; `None` where the run stopped earlier."""
    metrics: dict[str, Any] | None
    """The content of `evaluate/metrics.json`: figures of each model, and of the pseudo-labels if the truth is known;
    `None` without test rows or where the run stopped earlier."""


def run(
    config: Config,
    *,
    until: str = "evaluate",
    redo: str | None = None,
    reporter: Reporter | None = None,
    dataset: Dataset | None = None,
    shared: Shared | None = None,
) -> RunResult:
    """Runs the stages up to `until`; those that are done under the same settings are not run again.

    Args:
        config: the whole run; `semievol.config.load` reads it from a file.
        until: the last stage to run.
        redo: make this stage and the later ones anew; they stand as they were until the new ones have begun.
        reporter: told how far the run has come.
        dataset: the rows, where they are loaded already.
        shared: what this run has in common with others.

    Raises:
        SemiEvolError: see `semievol.errors`; everything finished is kept, and the same call goes on.
    """
    for name in (until, redo):
        if name is not None and name not in STAGES:
            raise ConfigError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}")
    if redo is not None and STAGES.index(redo) > STAGES.index(until):
        raise ConfigError(f"--redo {redo}: the run is to end after {until}, before anything is made anew")
    reporter = reporter or Reporter()
    executor, output = open_executor(config), config.output
    if not executor.in_process and "://" not in output:  # a worker's own folder is another one
        config = config.model_copy(update={"output": str(Path(output).absolute())})
    folder = RunFolder(config.output) if shared is None else shared.run_dir(config.output)
    folder.claim()
    with reaching(folder.path), folder.lock(partial(setattr, reporter, "stopping", True)):
        if line := settle(folder):
            reporter.say(line)
        require_engine(config)
        _check_model(config, folder, executor, reporter)
        config = _dated(pinned(config, folder, executor, reporter), folder, executor, reporter)
        dataset = dataset or load(config, folder.rows_path)
        config = _with_lengths(config, dataset, folder, executor, reporter)
        require_ready(config, dataset, until)
        folder.forget_rows(
            [rows.path for rows in (dataset.unlabeled, dataset.test) if isinstance(rows, StoredExamples)]
        )
        budget = open_budget(config, folder, 0.0 if shared is None else shared.paid_beside(folder))
        worker = Worker(config, dataset.task, dataset.labeled, {}, reporter, budget, executor)
        worker.shared = shared
        session = _session_started(folder)
        try:
            with (
                made_anew(folder, redo, config, reporter),
                _described(folder, config.model_copy(update={"output": output}), dataset),
            ):
                _rounds(config, folder, dataset, worker, reporter, until)
        finally:
            worker.close()
            if shared is None:  # else the other runs want the same model
                free_memory()
            budget.close()
            _session_ended(folder, session)
            folder.upload_logs()
    return result(folder)


@contextmanager
def _described(folder: RunFolder, config: Config, dataset: Dataset) -> Iterator[None]:
    """Writes config and task; where the folder turns out to hold another run's results, they stay as they were."""
    texts = {folder.config_path: dump(config)}
    if dataset.as_read:
        texts[folder.task_path] = described_task(config, dataset)
    before = {path: path.read_bytes() for path in texts if path.exists()}
    for path, text in texts.items():
        if before.get(path) != text.encode():
            write_text(path, text)
    try:
        yield
    except RunFolderError:
        for path, content in before.items():
            write_bytes(path, content)
        raise


def _rounds(
    config: Config, folder: RunFolder, dataset: Dataset, worker: Worker, reporter: Reporter, until: str
) -> None:
    """The loop of 4.3.7; one round of it is the method."""
    last = STAGES.index(until)
    labeled: Sequence[Example] = dataset.labeled
    unlabeled: Sequence[Example] = dataset.unlabeled
    weights: dict[str, str] = {}
    selections: list[Stage] = []
    for number in range(1, config.rounds + 1):
        revision = selections[-1].revision if selections else 0
        round_ = Round(number, config, folder, dataset.task, labeled, unlabeled, worker, reporter, revision)
        round_ = _warm(round_, weights)
        if last < STAGES.index("collaborate"):
            return
        if unlabeled and config.evolve.enabled:
            evolved = _propagate(round_, last, selections)
            if evolved is None:
                return
            worker.weights["evolved"] = TrainingFolder(evolved).weights
            weights["evolved"] = evolved.digest
            worker.close()
            if number < config.rounds:
                labeled, unlabeled = _next(round_, selections[-1])
                worker.learn(labeled)
        if not unlabeled or not config.evolve.enabled:
            break
    if last >= STAGES.index("evaluate") and dataset.test:
        if config.warmup.enabled:  # later rounds lent the name to newer weights
            worker.weights["warm"] = TrainingFolder(folder.stage("warmup")).weights
        truth = read_answers(config, dataset.task) if config.evaluate.unlabeled_answers and selections else None
        first = Round(1, config, folder, dataset.task, dataset.labeled, dataset.unlabeled, worker, reporter)
        evaluate(first, dataset.test, weights, selections, truth)


def _warm(round_: Round, weights: dict[str, str]) -> Round:
    """The round with M_warm ready; from the second round on that is the last round's M_evol where the two are one."""
    config, worker = round_.config, round_.worker
    if not config.warmup.enabled:
        return dataclasses.replace(round_, warm_digest="base")
    if round_.number > 1 and config.warm_is_evolved:
        worker.weights["warm"] = worker.weights["evolved"]
        return dataclasses.replace(round_, warm_digest=weights["evolved"])
    stage = _done(round_, warmup(round_))
    worker.weights["warm"] = TrainingFolder(stage).weights
    if round_.number == 1:
        weights["warm"] = stage.digest
    return dataclasses.replace(round_, warm_digest=stage.digest)


def _propagate(round_: Round, last: int, selections: list[Stage]) -> Stage | None:
    """Stages two to five; `None` where the run was to end before evolution."""
    collaborated = _done(round_, collaborate(round_))
    if last < STAGES.index("justify"):
        return None
    justified = _done(round_, justify(round_, collaborated))
    if last < STAGES.index("select"):
        return None
    selections.append(_done(round_, select(round_, justified)))
    if last < STAGES.index("evolve"):
        return None
    return _done(round_, evolve(round_, selections[-1]))


def _done(round_: Round, stage: Stage) -> Stage:
    """The stage; where it took the place of an old one, all that was set aside with that goes."""
    remove_replaced(round_.run)
    return stage


def _next(round_: Round, selection: Stage) -> tuple[Sequence[Example], Sequence[Example]]:
    """Labeled ∪ selected, and the rejected rows."""
    rejected = (example for example, row in decisions(round_, selection, ["kept"]) if not row["kept"])
    return labeled_and_selected(round_, selection), store(rejected, round_.run.rows_path)


def result(folder: RunFolder) -> RunResult:
    """What lies in a run folder."""
    evolved = [stage for _, stage in folder.stages() if stage.name == "evolve" and stage.is_done]
    evaluated = folder.stage("evaluate")
    return RunResult(
        path=folder.path,
        weights=TrainingFolder(evolved[-1]).weights if evolved else None,
        metrics=read_json(evaluated.metrics_path) if evaluated.is_done else None,
    )


def pinned(config: Config, folder: RunFolder, executor: Executor, reporter: Reporter) -> Config:
    """The config with the weights' type decided: once per folder, for it is measured, where the model will answer."""
    if config.model.dtype != "auto" or config.backend.kind not in ("transformers", "vllm"):
        return config
    facts = folder.facts()
    if "dtype" not in facts:
        implementation("backend.kind", config.backend.kind, BACKENDS)  # says which extra is missing, if one is
        from semievol.models.types import resolve_dtype

        (facts["dtype"],) = executor.map(resolve_dtype, [config.model], reporter)
        folder.write_facts(facts)
    model = ModelConfig.model_validate({**config.model.model_dump(), "dtype": facts["dtype"]})
    return config.model_copy(update={"model": model})


def _with_lengths(
    config: Config, dataset: Dataset, folder: RunFolder, executor: Executor, reporter: Reporter
) -> Config:
    """The config with a number for `collaborate.max_tokens: auto`, which `run.json` keeps."""
    found = fitted(config, dataset, executor, reporter)
    if found is not config:
        folder.write_facts({**folder.facts(), "max_tokens": found.longest})
    return found


def _dated(config: Config, folder: RunFolder, executor: Executor, reporter: Reporter) -> Config:
    """The config with the day that the chat template writes, where it asks for one: that of the run's first start."""
    if config.model.date is not None or not writes_chats(config):
        return config
    facts = folder.facts()
    if "date" not in facts:
        (asks,) = executor.map(writes_the_date, [config.model], reporter)
        facts["date"] = _today() if asks else None
        folder.write_facts(facts)
    return config.model_copy(update={"model": config.model.model_copy(update={"date": facts["date"]})})


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def _check_model(config: Config, folder: RunFolder, executor: Executor, reporter: Reporter) -> None:
    """Looks once per folder whether the model can be used at all, where it will answer."""
    if not is_local(config) or folder.facts().get("model_type") is not None:
        return
    if config.backend.kind == "transformers":
        implementation("backend.kind", config.backend.kind, BACKENDS)  # says which extra is missing, if one is
    (model_type,) = executor.map(checked_model, [config.model], reporter)
    folder.write_facts({**folder.facts(), "model_type": model_type})


def _session_started(folder: RunFolder) -> dict[str, Any]:
    """One process' part of `run.json`: versions, machine, command, times."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "clock": time.monotonic(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
    }


def _session_ended(folder: RunFolder, session: dict[str, Any]) -> None:
    session["seconds"] = round(time.monotonic() - session.pop("clock"), 1)
    session["peak_memory_mb"] = _peak_memory()
    facts = folder.facts()
    facts.setdefault("sessions", []).append(session)
    if folder.costs_path.exists():
        facts["costs"] = dataclasses.asdict(costs(folder))
    folder.write_facts(facts)


def _peak_memory() -> int | None:
    """The most memory this process has held, in MB; `None` on Windows, whose Python does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, kilobytes elsewhere
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
