"""What a run decides once, before it begins, and keeps in `run.json`: it is the same however often the run goes on."""

import time

from semievol.backends import BACKENDS
from semievol.config import Config, ModelConfig
from semievol.data import Dataset
from semievol.executors import Executor
from semievol.forecast.lengths import fitted
from semievol.local.families import checked_model, is_local, writes_chats
from semievol.models.loading import writes_the_date
from semievol.plugins import implementation
from semievol.progress import Reporter
from semievol.run_folder.folder import RunFolder


def decided(config: Config, folder: RunFolder, executor: Executor, reporter: Reporter) -> Config:
    """The config with the type of the weights and the day that the chat template writes; the model can be used.

    Raises:
        ConfigError: it cannot be used.
    """
    _check_model(config, folder, executor, reporter)
    return _dated(pinned(config, folder, executor, reporter), folder, executor, reporter)


def with_lengths(config: Config, dataset: Dataset, folder: RunFolder, executor: Executor, reporter: Reporter) -> Config:
    """The config with a number for `collaborate.max_tokens: auto`, which `run.json` keeps."""
    with_number = fitted(config, dataset, executor, reporter)
    if with_number is not config:
        folder.write_facts({**folder.facts(), "max_tokens": with_number.longest})
    return with_number


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


def _check_model(config: Config, folder: RunFolder, executor: Executor, reporter: Reporter) -> None:
    """Looks once per folder whether the model can be used at all, where it will answer."""
    if not is_local(config) or folder.facts().get("model_type") is not None:
        return
    if config.backend.kind == "transformers":
        implementation("backend.kind", config.backend.kind, BACKENDS)  # says which extra is missing, if one is
    (model_type,) = executor.map(checked_model, [config.model], reporter)
    folder.write_facts({**folder.facts(), "model_type": model_type})


def _dated(config: Config, folder: RunFolder, executor: Executor, reporter: Reporter) -> Config:
    """The config with the day that the chat template writes, if it asks for one: that of the run's first start."""
    if config.model.date is not None or not writes_chats(config):
        return config
    facts = folder.facts()
    if "date" not in facts:
        (asks,) = executor.map(writes_the_date, [config.model], reporter)
        facts["date"] = time.strftime("%Y-%m-%d") if asks else None
        folder.write_facts(facts)
    return config.model_copy(update={"model": config.model.model_copy(update={"date": facts["date"]})})
