"""The method, start to finish: six stages in the paper's order."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from semievol.config import Config, dump
from semievol.config.places import Place
from semievol.costs.budget import open_budget
from semievol.data import Dataset, StoredExamples, load, read_answers, store
from semievol.data.trained_task import described_task
from semievol.errors import ConfigError
from semievol.executors import open_executor
from semievol.forecast.decisions import decided, with_lengths
from semievol.forecast.needs import require_engine, require_ready
from semievol.progress import Reporter
from semievol.records import Example
from semievol.run_folder import STAGES
from semievol.run_folder.files import read_json, sweep
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import on_disk, reaching
from semievol.run_folder.stage import Stage
from semievol.stages.answerer import Answerer
from semievol.stages.collaborate import collaborate
from semievol.stages.committee import committee
from semievol.stages.evaluate import evaluate
from semievol.stages.evolve import decisions, evolve, labeled_and_selected
from semievol.stages.justify import justify
from semievol.stages.redo import made_anew, remove_replaced, settle
from semievol.stages.round import Round
from semievol.stages.select import select
from semievol.stages.session import session
from semievol.stages.sharing import Alone, Sharing
from semievol.stages.warmup import warmup
from semievol.training.folder import TrainingFolder


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    path: Place
    """The run folder."""
    weights: str | None
    """The evolved model's adapter folder, or its name at a service; `None` if the run stopped earlier."""
    metrics: dict[str, Any] | None
    """The content of `evaluate/metrics.json`: figures of each model, and of the pseudo-labels if the truth is known;
    `None` without test rows or if the run stopped earlier."""


def run(
    config: Config,
    *,
    until: str = "evaluate",
    redo: str | None = None,
    reporter: Reporter | None = None,
    dataset: Dataset | None = None,
    sharing: Sharing | None = None,
) -> RunResult:
    """Runs the stages up to `until`; those that are done under the same settings are not run again.

    Args:
        config: the whole run; `semievol.config.load` reads it from a file.
        until: the last stage to run.
        redo: make this stage and the later ones anew; they stand as they were until the new ones have begun.
        reporter: told how far the run has come.
        dataset: the rows, if they are loaded already.
        sharing: what this run has in common with others.

    Raises:
        SemiEvolError: see `semievol.errors`; everything finished is kept, and the same call goes on.
    """
    stages = _stages_up_to(until, redo)
    reporter, sharing = reporter or Reporter(), sharing or Alone()
    executor, output = open_executor(config), config.output
    if not executor.in_process and "://" not in output:  # a worker's own folder is another one
        config = config.model_copy(update={"output": str(Path(output).absolute())})
    folder = RunFolder(config.output)
    folder.claim()
    with reaching(folder.path), folder.lock(partial(setattr, reporter, "stopping", True)), ExitStack() as ending:
        sweep(on_disk(folder.path))
        if line := settle(folder):
            reporter.say(line)
        require_engine(config)
        config = decided(config, folder, executor, reporter)
        dataset = dataset or load(config, folder.rows_path)
        config = with_lengths(config, dataset, folder, executor, reporter)
        require_ready(config, dataset, until)
        folder.forget_rows(
            [rows.path for rows in (dataset.unlabeled, dataset.test) if isinstance(rows, StoredExamples)]
        )
        budget = open_budget(config, folder, sharing.paid_beside(folder))
        answerer = Answerer(config, dataset.labeled, {}, reporter, budget, executor, sharing)
        ending.callback(folder.upload_logs)
        ending.enter_context(session(folder))
        for resource in (budget, sharing, answerer):
            ending.callback(resource.close)
        ending.enter_context(made_anew(folder, redo, config, reporter))
        ending.enter_context(folder.described(_descriptions(folder, config, output, dataset)))
        first = Round(config, folder, dataset.task, dataset.labeled, dataset.unlabeled, answerer, reporter)
        for stage in method(first, dataset.test):
            remove_replaced(folder)  # the stage before has taken the place of an old one, if it was made anew
            if stage not in stages:
                break
    return result(folder)


def method(first: Round, test: Sequence[Example]) -> Iterator[str]:
    """The name of each stage, which is run when the next one is asked for. Algorithm 1, and the loop of 4.3.7."""
    round_, config = first, first.config
    models: dict[str, Stage] = {}  # those of the test, with the stages that trained them
    selections: list[Stage] = []
    while True:
        yield "warmup"  # Eq. 1: M_warm
        warm = _warm(round_, models)
        models = {**warm, **models}
        round_ = round_.answering_with({**warm, **_committee(round_)})
        if not round_.unlabeled or not config.evolve.enabled:
            break
        yield "collaborate"  # Eq. 2 to 4: the answers of n configurations
        collaborated = collaborate(round_)
        yield "justify"  # Eq. 5 and 6: one answer, and its H
        justified = justify(round_, collaborated)
        yield "select"  # Eq. 7 and 8: the rows whose H is at most τ
        selections.append(select(round_, justified))
        yield "evolve"  # Eq. 9: M_evol
        models["evolved"] = evolve(round_, selections[-1])
        if round_.number == config.rounds:
            break
        round_ = _following(round_, selections[-1])
    if test:
        yield "evaluate"
        truth = read_answers(config, first.task) if config.evaluate.unlabeled_answers and selections else None
        evaluate(first.answering_with(models), test, selections, truth)


def _warm(round_: Round, models: Mapping[str, Stage]) -> dict[str, Stage]:
    """M_warm; from the second round on that is the last round's M_evol if the two are one."""
    if not round_.config.warmup.enabled:
        return {}
    if round_.number > 1 and round_.config.warm_is_evolved:
        return {"warm": models["evolved"]}
    return {"warm": warmup(round_)}


def _committee(round_: Round) -> dict[str, Stage]:
    """Adapters that have each not seen a part of the labels; none if nothing is to be answered."""
    return committee(round_) if round_.unlabeled and round_.config.evolve.enabled else {}


def _following(round_: Round, selection: Stage) -> Round:
    """The next round: its labeled rows are labeled ∪ selected, its unlabeled ones those that were rejected."""
    labeled = labeled_and_selected(round_, selection)
    rejected = (example for example, row in decisions(round_, selection, ["kept"]) if not row["kept"])
    unlabeled = store(rejected, round_.folder.rows_path)
    round_.answerer.learn(labeled)
    return dataclasses.replace(
        round_, number=round_.number + 1, labeled=labeled, unlabeled=unlabeled, revision=selection.revision
    )


def result(folder: RunFolder) -> RunResult:
    """What lies in a run folder."""
    evolved = [stage for _, stage in folder.stages() if stage.name == "evolve" and stage.is_done]
    evaluated = folder.stage("evaluate")
    return RunResult(
        path=folder.path,
        weights=TrainingFolder(evolved[-1]).weights if evolved else None,
        metrics=read_json(evaluated.metrics_path) if evaluated.is_done else None,
    )


def _stages_up_to(until: str, redo: str | None) -> Sequence[str]:
    for name in (until, redo):
        if name is not None and name not in STAGES:
            raise ConfigError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}")
    stages = STAGES[: STAGES.index(until) + 1]
    if redo is not None and redo not in stages:
        raise ConfigError(f"--redo {redo}: the run is to end after {until}, before anything is made anew")
    return stages


def _descriptions(folder: RunFolder, config: Config, output: str, dataset: Dataset) -> dict[Place, str]:
    """The files that say what is run: the config as the user named its folder, and the task."""
    config = config.model_copy(update={"output": output})
    texts = {folder.config_path: dump(config)}
    return texts | ({folder.task_path: described_task(config, dataset)} if dataset.as_read else {})
