"""Everything that a run will need, looked at before any of it costs time or money."""

import importlib.util
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from semievol.backends import BACKENDS
from semievol.config import Config, TrainingConfig
from semievol.config.backend import VllmConfig
from semievol.config.paths import expanded
from semievol.data import Dataset, read_truth
from semievol.errors import ConfigError, MissingExtraError
from semievol.executors import EXECUTORS
from semievol.plugins import Implementations, implementation
from semievol.retrieval import RETRIEVERS
from semievol.run_folder import STAGES
from semievol.stages.collaborate import collaborators
from semievol.training import LAUNCHERS, TRAINERS
from semievol.trust import VIEWS

PACKAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "backend.kind": {
        "transformers": ("torch", "transformers", "peft"),
        "vllm": ("openai", "transformers"),
        "openai": ("openai",),
    },
    "training.kind": {
        "local": ("torch", "transformers", "peft", "trl", "datasets", "accelerate"),
        "hosted": ("openai",),
    },
    "training.launcher": {"accelerate": ("accelerate",), "ray": ("ray",)},
    "executor.kind": {"ray": ("ray",)},
    "model.quantization": {"nf4": ("bitsandbytes",)},
    "retrieval.kind": {"dense": ("faiss", "sentence_transformers")},
    "justify.calibrate": {"true": ("sklearn",)},
    "justify.views": dict.fromkeys(VIEWS, ("sklearn", "faiss", "sentence_transformers")),
}
"""An option -> its values -> what they import; all of it is looked for at once, and imported where it is used."""
QUANTIZATIONS: Implementations = {"nf4": ("transformers:BitsAndBytesConfig", "quantized")}
TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "azure_ml": ("azureml",), "kubeflow": ()}
"""A name of `training.report_to` -> the packages of which it needs one, if that is not its name."""


def require_engine(config: Config) -> None:
    """Raises an error if a package is missing with which a run answers; to be asked before a model is looked at.

    Raises:
        BackendError: vLLM is not installed where the run would start it.
        ConfigError: there is no such engine.
        MissingExtraError: a package is not installed.
    """
    if config.model.quantization:
        _require("model.quantization", config.model.quantization, QUANTIZATIONS)
    _require("executor.kind", config.executor.kind, EXECUTORS)
    _require("backend.kind", config.backend.kind, BACKENDS)
    if config.backend.kind == "vllm" and config.executor.kind == "inline":
        _require_server(config.backend.vllm)
    for recipe in (config.recipe("warmup"), config.recipe("evolve")):
        if recipe.launcher == "inline":
            _require("training.kind", recipe.kind, TRAINERS)


def require_ready(config: Config, dataset: Dataset, until: str = STAGES[-1]) -> None:
    """Raises an error if something that can be known now stands in the way of the stages up to `until`.

    Raises:
        ConfigError: an option does not go with the task, or names something that is not there.
        DataError: the column of `evaluate.unlabeled_answers` is not there or holds no answers of the task.
        MissingExtraError: a package that a stage will import is not installed.
    """
    stages = STAGES[: STAGES.index(until) + 1]
    for recipe in _trainings(config, dataset, stages):
        _require_trainer(recipe)
    _require_selection(config, dataset)
    if dataset.unlabeled and config.evolve.enabled:
        _require_trust(config, dataset)
    if _most_shown(config, dataset, stages):
        _require("retrieval.kind", config.retrieval.kind, RETRIEVERS)
        _require_embedder(config, config.retrieval.kind == "dense")
    if "evaluate" in stages and dataset.test:
        _require_evaluation(config, dataset)


def _require(option: str, kind: str, table: Implementations) -> None:
    """Raises an error if what the option names cannot be imported; our own packages are looked for and not loaded."""
    if kind not in table:
        implementation(option, kind, table)
        return
    for package in PACKAGES.get(option, {}).get(kind, ()):
        if not _installed(package):
            raise MissingExtraError(f"{option}: {kind} needs {package}; pip install 'semievol[{table[kind][1]}]'")


def _require_server(section: VllmConfig) -> None:
    """Raises BackendError if no server of vLLM is there or can be started."""
    if section.url is None and not section.command:
        from semievol.backends.vllm.command import own_vllm

        own_vllm()


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # something stands in for it
        return True


def _trainings(config: Config, dataset: Dataset, stages: Collection[str]) -> Iterator[TrainingConfig]:
    if "warmup" in stages and config.warmup.enabled:
        yield config.recipe("warmup")
    if "evolve" in stages and config.evolve.enabled and dataset.unlabeled:
        yield config.recipe("evolve")


def _require_trainer(recipe: TrainingConfig) -> None:
    if recipe.launcher != "inline":
        _require("training.launcher", recipe.launcher, LAUNCHERS)
    if recipe.launcher == "ray":
        return  # the workers of the cluster train, and have other packages
    _require("training.kind", recipe.kind, TRAINERS)
    for tracker in recipe.report_to if recipe.kind == "local" else ():
        from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

        if tracker not in INTEGRATION_TO_CALLBACK:
            raise ConfigError(f"training.report_to: {tracker!r} is not one of {', '.join(INTEGRATION_TO_CALLBACK)}")
        packages = TRACKERS.get(tracker, (tracker,))
        if packages and not any(map(_installed, packages)):
            raise MissingExtraError(f"training.report_to: {tracker} needs {packages[0]}; pip install {packages[0]}")


def _require_selection(config: Config, dataset: Dataset) -> None:
    if config.select.enabled and config.select.per_answer and dataset.task.answers() is None:
        raise ConfigError(
            f"select.per_answer is true and the answers of task.kind {config.task.kind} are not a closed set: with a "
            "threshold for each answer, every one that is given once would be kept; set it to false"
        )


def _require_trust(config: Config, dataset: Dataset) -> None:
    """Raises an error if answers are to be scored that cannot be, or labels divided that are too few."""
    if config.collaborate.how == "score":
        if any(not dataset.task.choices(example) for example in dataset.labeled[:1]):
            raise ConfigError(
                f"collaborate.how is score and the answers of task.kind {config.task.kind} are not a closed set; "
                "set it to sample"
            )
        if any(example.response is not None for example in dataset.labeled):
            raise ConfigError(
                "collaborate.how is score and labeled rows are worked solutions, of which there is no closed set; "
                "set it to sample"
            )
    if config.warmup.folds > len(dataset.labeled):
        raise ConfigError(f"warmup.folds is {config.warmup.folds} and there are {len(dataset.labeled)} labeled rows")
    if config.justify.calibrate:
        _require("justify.calibrate", "true", {"true": ("semievol.trust.correctness:Correctness", "local")})
    if config.justify.calibrates and dataset.task.answers() is not None:
        for view in config.justify.views:
            _require("justify.views", view, VIEWS)
            _require_embedder(config, view in VIEWS)


def _most_shown(config: Config, dataset: Dataset, stages: Collection[str]) -> int:
    """The most retrieved examples that a prompt shows."""
    numbers_shown = [0]
    if "collaborate" in stages and config.evolve.enabled and dataset.unlabeled:
        numbers_shown += [collaborator.examples for collaborator in collaborators(config)]
    if "evaluate" in stages and dataset.test:
        numbers_shown.append(config.evaluate.examples)
    return max(numbers_shown)


def _require_embedder(config: Config, is_needed: bool) -> None:
    """Raises ConfigError if the embedder is a folder that is not there; an address is asked when it is loaded."""
    source = config.retrieval.embedder
    place = expanded(source)
    if is_needed and place.startswith((".", "/")) and not Path(place).is_dir():
        raise ConfigError(f"retrieval.embedder: no folder {source}")


def _require_evaluation(config: Config, dataset: Dataset) -> None:
    for name in config.evaluate.baselines:
        if dataset.task.answers() is None:
            raise ConfigError(f"evaluate.baselines: {name} is for tasks with labels, not for {config.task.kind}")
        for package in ("sklearn", *PACKAGES["retrieval.kind"]["dense"]):
            if not _installed(package):
                raise MissingExtraError(f"evaluate.baselines: {name} needs {package}; pip install 'semievol[local]'")
        if name == "setfit" and not _installed("setfit"):
            raise MissingExtraError("evaluate.baselines: setfit needs setfit; pip install 'semievol[local,setfit]'")
        _require_embedder(config, True)
    if config.evaluate.unlabeled_answers and dataset.unlabeled and config.evolve.enabled:
        for _ in read_truth(config, dataset.task):
            pass
