"""What the results of a stage depend on stands in its key: every option and every input file, or it changes nothing."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from samples import topics_config
from semievol.config import Config, build
from semievol.config.backend import SPEED_OPTIONS, VLLM_SPEED_OPTIONS
from semievol.config.section import Section
from semievol.config.training import LAUNCHER_OPTIONS
from semievol.errors import DataError, RunFolderError
from semievol.pipeline import run
from semievol.records import Request
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import read_columns
from semievol.stages import evaluate as evaluation
from semievol.stages.round import Round
from semievol.stages.warmup import recipe_key
from watched import WATCHED

WORDS = ["rain", "snow", "goal", "match", "bank", "loan"]
TOPICS = ["weather", "weather", "sport", "sport", "money", "money"]

OTHERWISE: Mapping[str, tuple[Any, str]] = {
    "seed": (1, "warmup"),
    "rounds": (2, "evaluate"),
    "model.name": ("another", "warmup"),
    "model.revision": ("v2", "warmup"),
    "model.dtype": ("float16", "warmup"),
    "model.device": ("cpu", "warmup"),
    "model.quantization": ("nf4", "warmup"),
    "model.max_length": (999, "warmup"),
    "model.trust_remote_code": (True, "warmup"),
    "model.chat_template_kwargs": ({"enable_thinking": False}, "warmup"),
    "model.date": ("2026-02-03", "warmup"),
    "data.labeled": ("other.csv", "warmup"),
    "data.unlabeled": ("other.csv", "collaborate"),
    "data.test": ("other.csv", "evaluate"),
    "data.layout": ("alpaca", "warmup"),
    "data.columns.id": ("number", "warmup"),
    "data.columns.prompt": ("instruction", "warmup"),
    "data.columns.answer": ("group", "warmup"),
    "data.columns.options": ("choices", "collaborate"),
    "data.columns.category": ("group", "collaborate"),
    "data.labeled_rows": (5, "warmup"),
    "data.unlabeled_rows": (5, "collaborate"),
    "data.test_rows": (5, "evaluate"),
    "data.max_prompt_words": (2, "warmup"),
    "task.kind": ("free_text", "warmup"),
    "task.instruction": ("Name it.", "warmup"),
    "task.system": ("Be brief.", "warmup"),
    "task.labels": (["weather", "sport", "money", "none of them"], "warmup"),
    "task.label_names": ({"money": "finance"}, "warmup"),
    "task.label_descriptions": ({"money": "Of banks and prices."}, "warmup"),
    "task.answer_pattern": ("is (.+)", "warmup"),
    "task.match": ("fuzzy", "warmup"),
    "task.threshold": (0.5, "warmup"),
    "task.relative_tolerance": (0.5, "warmup"),
    "task.decimal_mark": ("comma", "warmup"),
    "retrieval.enabled": (False, "collaborate"),
    "retrieval.kind": ("semievol.retrieval.bm25:BM25Retriever", "collaborate"),
    "retrieval.k": (2, "collaborate"),
    "retrieval.embedder": ("another", "collaborate"),
    "warmup.enabled": (False, "collaborate"),
    "warmup.training": ({"num_train_epochs": 5}, "warmup"),
    "collaborate.enabled": (False, "collaborate"),
    "collaborate.how": ("score", "collaborate"),
    "collaborate.n": (3, "collaborate"),
    "collaborate.collaborators": ([{"examples": 1}], "collaborate"),
    "collaborate.temperature": (0.5, "collaborate"),
    "collaborate.top_p": (0.5, "collaborate"),
    "collaborate.max_tokens": (5, "collaborate"),
    "justify.mode": ("majority", "justify"),
    "justify.temperature": (0.5, "justify"),
    "select.enabled": (False, "select"),
    "select.precision": (0.5, "select"),
    "select.max_error": (0.5, "select"),
    "select.criterion": ("agreement", "select"),
    "select.theta": (0.9, "select"),
    "select.scope": ("justified", "select"),
    "select.per_answer": (True, "select"),
    "select.min_agreement": (0.4, "select"),
    "evolve.enabled": (False, "evaluate"),
    "evolve.start_from": ("warm", "evolve"),
    "evolve.include_labeled": (False, "evolve"),
    "evolve.training": ({"num_train_epochs": 5}, "evolve"),
    "evaluate.models": (["base"], "evaluate"),
    "evaluate.baselines": (["logistic_regression"], "evaluate"),
    "evaluate.max_tokens": (3, "evaluate"),
    "evaluate.examples": (1, "evaluate"),
    "evaluate.instruction": ("Name it.", "evaluate"),
    "evaluate.unlabeled_answers": ("topic", "evaluate"),
    "backend.batch_tokens": (99, "collaborate"),
    "backend.fake_noise": (0.1, "collaborate"),
    "executor.shard_rows": (2, "collaborate"),
}
"""An option -> another value, and the first stage whose result is another with it."""

CHOICES: Mapping[str, Any] = {"data.answer_index": 0}
"""Options of multiple-choice rows -> another value; the labeled rows are others with it."""

READING: Mapping[str, Any] = {"data.quotes": False, "data.separator": ";"}
"""Options of how files of text are read -> another value; the rows are others with it, or cannot be read."""

POOL: Mapping[str, Any] = {
    "warmup.folds": 2,
    "collaborate.how": "score",
    "collaborate.gate": False,
    "justify.mode": "pool",
    "justify.views": ["word_view:WordView"],
    "select.rule": "weights",
}
"""The options of a run whose pseudo-labels are pooled."""

POOLED: Mapping[str, tuple[Any, str]] = {
    "warmup.folds": (3, "collaborate"),
    "justify.views": ([], "justify"),
    "select.rule": ("precision", "select"),
    "retrieval.embedder": ("another", "collaborate"),
}
"""An option of such a run -> another value, and the first stage whose result is another with it."""

CALIBRATED: Mapping[str, Any] = {"collaborate.gate": False, "justify.calibrate": True}
"""The options of a run whose answers are drawn and calibrated."""

CALIBRATED_OTHERWISE: Mapping[str, tuple[Any, Mapping[str, Any], str]] = {
    "justify.views": (
        [],
        {"warmup.folds": 2, "justify.views": ["word_view:WordView"], "select.rule": "weights"},
        "justify",
    ),
    "warmup.folds": (3, {"warmup.folds": 2, "justify.views": []}, "justify"),
    "collaborate.temperature": (0.5, {"warmup.folds": 2, "justify.views": []}, "collaborate"),
}
"""An option of such a run -> another value, what else is set, and the first stage whose result is another with it."""

RECIPE: Mapping[str, Any] = {
    "num_train_epochs": 5,
    "learning_rate": 0.5,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.5,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.5,
    "max_grad_norm": 0.5,
    "gradient_checkpointing": True,
    "lora_r": 2,
    "lora_alpha": 2,
    "lora_dropout": 0.5,
    "lora_target_modules": "q_proj",
    "kind": "local",
    "hosted.provider": "together",
    "hosted.learning_rate_multiplier": 2.0,
    "hosted.service.base_url": "http://localhost/v1",
}
"""Options of `training` -> another value; they stand in the keys of both trainings."""

ENGINE: Mapping[str, Any] = {
    "kind": "vllm",
    "service.base_url": "http://localhost/v1",
    "service.api_version": "2026",
    "service.logprobs": False,
    "service.extra_body": {"reasoning_effort": "low"},
    "vllm.engine_options": {"quantization": "fp8"},
    "vllm.send_seeds": False,
}
"""Options of `backend` that only some engines have -> another value; they stand in the keys of what answers."""

NOTHING: Mapping[str, str] = {
    "preset": "its options count, not its name",
    "output": "a run may be moved",
    "data.allow_leaks": "refuses rows, and changes none",
    "collaborate.gate": "ends a run, and changes no result",
    "executor.kind": "where the work runs",
    "executor.processes": "where the work runs",
    "executor.ray": "where the work runs",
    "costs": "what the run may cost",
    "training.report_to": "who is told",
    "training.hosted.suffix": "a part of a name",
    "training.hosted.poll_seconds": "how often a job is looked at",
    **{f"training.{name}": "where the training runs" for name in LAUNCHER_OPTIONS},
    **{f"backend.service.{name}": "how the service is reached" for name in SPEED_OPTIONS},
    **{f"training.hosted.service.{name}": "how the service is reached" for name in SPEED_OPTIONS},
    **{f"backend.vllm.{name}": "how the server is started and reached" for name in VLLM_SPEED_OPTIONS},
    **{
        f"training.hosted.service.{name}": "of answers, and not of trainings"
        for name in ("api_version", "logprobs", "extra_body")
    },
}
"""What changes no result, and why."""


def options(section: type[Section] = Config, prefix: str = "") -> Iterator[str]:
    """Every option of the config by its name with dots."""
    for name, field in section.model_fields.items():
        parts = (field.annotation, *get_args(field.annotation))
        inner = [part for part in parts if isinstance(part, type) and issubclass(part, Section)]
        if inner:
            yield from options(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def within(option: str, names: Mapping[str, Any]) -> bool:
    """Whether the option, or the section it is in, is among `names`."""
    return any(option == name or option.startswith(f"{name}.") for name in names)


def write(path: Path, seed: int = 0) -> None:
    """Rows that can be read in several ways."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle)
        out.writerow(["text", "topic", "number", "group", "choices", "instruction", "at", "output"])
        for at, (word, topic) in enumerate(zip(WORDS, TOPICS, strict=True)):
            choices = json.dumps(["weather", "sport", topic])
            beside = WORDS[at * 2 % len(WORDS)]  # of another topic, in some
            text = f"{path.stem}{at}x{seed} {word} {beside}"
            out.writerow([text, topic, f"{path.stem}{at}", topic.upper(), choices, f"{text}, is it", 1 + at % 2, topic])


def config(folder: Path, option: str | None = None, value: Any = None) -> Config:
    """The config of a small run, with another value of one option."""
    value = str(folder / value) if value == "other.csv" else value
    return with_options(folder, {} if option is None else {option: value})


def with_options(folder: Path, values: Mapping[str, Any]) -> Config:
    """The config of the small run, with other values of some options."""
    raw = topics_config(folder, model={"name": "one", "dtype": "float32"}).model_dump(exclude_unset=True)
    for option, value in values.items():
        *sections, name = option.split(".")
        inner = raw
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    if "data.layout" in values:  # a layout has columns of its own
        del raw["data"]["columns"]
    return build(raw)


def keys(folder: Path) -> dict[str, Any]:
    """The key of each stage of a run."""
    return {
        stage.name: json.loads((stage.path / "key.json").read_text())
        for number, stage in RunFolder(folder).stages()
        if number == 1
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, where the baseline is a method that always says the same."""
    for name in ("labeled", "unlabeled", "test", "other"):
        write(tmp_path / f"{name}.csv")
    monkeypatch.setattr(
        evaluation, "BASELINES", {"logistic_regression": lambda _, rows: [("sport", 0.5) for _ in rows.test]}
    )
    return tmp_path


def test_of_every_option_it_is_known_what_depends_on_it() -> None:
    known = {
        *OTHERWISE,
        *POOLED,
        *CALIBRATED_OTHERWISE,
        "justify.calibrate",
        *CHOICES,
        *READING,
        *(f"training.{name}" for name in RECIPE),
        *(f"backend.{name}" for name in ENGINE),
    }
    assert {each for each in options() if not within(each, dict.fromkeys(known))} == {
        each for each in options() if within(each, NOTHING)
    }


@pytest.mark.parametrize("option", OTHERWISE)
def test_another_value_of_an_option_is_another_key(folder: Path, option: str) -> None:
    value, stage = OTHERWISE[option]
    assert_other_keys(folder, config(folder), config(folder, option, value), stage)


@pytest.mark.parametrize("option", POOLED)
def test_another_value_of_an_option_is_another_key_if_pseudo_labels_are_pooled(folder: Path, option: str) -> None:
    value, stage = POOLED[option]
    assert_other_keys(folder, with_options(folder, POOL), with_options(folder, {**POOL, option: value}), stage)


@pytest.mark.parametrize("option", CALIBRATED_OTHERWISE)
def test_another_value_of_an_option_is_another_key_if_answers_are_calibrated(folder: Path, option: str) -> None:
    value, others, stage = CALIBRATED_OTHERWISE[option]
    options = {"justify.views": [], **CALIBRATED, **others}
    assert_other_keys(folder, with_options(folder, options), with_options(folder, {**options, option: value}), stage)


def test_calibrating_changes_no_key_of_what_does_not_ask_for_probabilities(folder: Path) -> None:
    options = {"warmup.enabled": False, **CALIBRATED, "justify.views": []}
    run(with_options(folder, options))
    (folder / "run").rename(folder / "before")
    run(with_options(folder, {**options, "justify.calibrate": False}))
    before, now = keys(folder / "before"), keys(folder / "run")
    assert [stage for stage in before if before[stage] != now[stage]] == ["justify", "select", "evaluate"]


def assert_other_keys(folder: Path, first: Config, second: Config, stage: str) -> None:
    """Two configs' runs differ from a stage on, to the end."""
    run(first)
    (folder / "run").rename(folder / "before")
    run(second)
    before, now = keys(folder / "before"), keys(folder / "run")
    order = ["warmup", "collaborate", "justify", "select", "evolve", "evaluate"]
    other = [each for each in order if before[each] != now.get(each)]
    assert next(each for each in other if each in now) == stage
    assert other[-1] == "evaluate"


@pytest.mark.parametrize("option", CHOICES)
def test_another_value_of_an_option_of_choices_is_another_key(folder: Path, option: str) -> None:
    multiple = {"task.kind": "multiple_choice", "data.columns.options": "choices", "data.columns.answer": "at"}
    run(with_options(folder, multiple))
    with pytest.raises(RunFolderError, match="run/warmup holds results made with other settings"):
        run(with_options(folder, multiple | {option: CHOICES[option]}))


@pytest.mark.parametrize("option", READING)
def test_files_that_are_read_otherwise_are_other_rows(folder: Path, option: str) -> None:
    rows = [f'"{word} {at}",{topic}\n' for at, (word, topic) in enumerate(zip(WORDS, TOPICS, strict=True))]
    for name in ("labeled", "unlabeled", "test"):
        (folder / f"{name}.csv").write_text("text,topic\n" + "".join(row.replace(" ", f" {name} ") for row in rows))
    run(config(folder))
    with pytest.raises((RunFolderError, DataError), match=r"made with other settings|no column"):
        run(config(folder, option, READING[option]))


@pytest.mark.parametrize("name", RECIPE)
def test_another_value_of_a_recipe_is_another_key(folder: Path, name: str) -> None:
    kind = {"training.kind": "hosted", "backend.kind": "openai"} if name.startswith("hosted.") else {}
    before = keyed_recipe(folder, {**kind})
    assert keyed_recipe(folder, {**kind, f"training.{name}": RECIPE[name]}) != before


@pytest.mark.parametrize("name", ENGINE)
def test_another_value_of_an_engine_is_another_key(folder: Path, name: str) -> None:
    engine = {"service": "openai", "vllm": "vllm"}.get(name.partition(".")[0], "fake")
    before = engine_key(folder, {"backend.kind": engine})
    assert engine_key(folder, {"backend.kind": engine, f"backend.{name}": ENGINE[name]}) != before


def keyed_recipe(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the warm-up's key."""
    return recipe_key(with_options(folder, values).recipe("warmup"))


def engine_key(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the keys of the stages that ask the engine."""
    nothing = cast(Any, None)
    return Round(with_options(folder, values), nothing, nothing, (), (), nothing, nothing).engine_key()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data.allow_leaks", True),
        ("costs.max_cost", 1.0),
        ("executor.ray.workers", 7),
        ("training.report_to", ["tensorboard"]),
        ("training.hosted.suffix", "mine"),
        ("backend.service.timeout", 1.0),
        ("backend.vllm.max_concurrency", 7),
    ],
)
def test_a_run_goes_on_with_another_value_of_what_changes_nothing(folder: Path, option: str, value: Any) -> None:
    assert within(option, NOTHING)
    run(config(folder))
    before = (folder / "run/evaluate/done.json").read_bytes()
    run(config(folder, option, value))
    assert (folder / "run/evaluate/done.json").read_bytes() == before


@pytest.mark.parametrize(("file", "stage"), [("labeled", "warmup"), ("unlabeled", "collaborate"), ("test", "evaluate")])
def test_a_file_with_other_rows_is_another_key(folder: Path, file: str, stage: str) -> None:
    run(config(folder))
    write(folder / f"{file}.csv", seed=1)
    with pytest.raises(RunFolderError, match=rf"run/{stage} holds results made with other settings"):
        run(config(folder))


def test_the_labels_are_in_the_key_of_an_evaluation_of_the_base_model_alone(folder: Path) -> None:
    base = with_options(folder, {"evaluate.models": ["base"], "evolve.enabled": False, "warmup.enabled": False})
    run(base)
    with (folder / "labeled.csv").open("a", encoding="utf-8") as handle:
        handle.write("what it is,none of them,6,,[],,,\n")
    with pytest.raises(RunFolderError, match="labeled: was"):
        run(base)


def test_a_corrected_truth_gives_new_figures_of_the_same_answers(folder: Path, asked: list[Request]) -> None:
    watched = {"backend.kind": WATCHED["kind"]}
    truth = with_options(folder, {"evaluate.unlabeled_answers": "topic", **watched})
    first = run(truth).metrics
    said = read_columns(folder / "run/select/pseudo_labels.parquet", ["answer"])["answer"].to_pylist()
    text = (folder / "unlabeled.csv").read_text(encoding="utf-8")
    for word, answer in zip(TOPICS, said, strict=True):
        text = text.replace(f",{word},", f",<{answer}>,", 1)
    (folder / "unlabeled.csv").write_text(text.replace("<", "").replace(">", ""), encoding="utf-8")
    before = len(asked)
    corrected = run(truth).metrics
    assert len(asked) == before > 0
    assert first is not None
    assert corrected is not None
    assert corrected["models"] == first["models"]
    assert first["pseudo_labels"]["all"]["right"] < 6
    assert corrected["pseudo_labels"]["all"]["right"] == 6
    assert run(with_options(folder, watched)).metrics == {"models": first["models"]}
