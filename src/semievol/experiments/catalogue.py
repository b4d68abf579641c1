"""The experiments: what each compares, where it stands in the paper, and how its results are shown."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semievol.config import Config
from semievol.data import Dataset
from semievol.errors import ConfigError
from semievol.experiments import methods as known_methods
from semievol.experiments.methods import SEMIEVOL, SFT, VANILLA, Method
from semievol.experiments.options import Options, Search
from semievol.experiments.rephrasings import rephrasings

Shape = Literal["methods", "points", "entropy", "stability", "categories"]
Methods = Callable[[Config, Dataset, Options], Sequence[Method]]


@dataclass(frozen=True)
class Experiment:
    """One command."""

    name: str
    title: str
    paper: str
    """Where the paper has it."""
    reference: str
    """The method that the others are tested against; empty if none is."""
    methods: Methods
    """The methods for a task, given its config and rows."""
    shape: Shape = "methods"
    """How results are shown."""
    axis: str = ""
    """What `Method.x` is."""
    searches: bool = False
    """Whether recipes are searched without being asked for: where SFT and SemiEvol are held against each other."""

    def search(self, options: Options) -> Search:
        """The search for recipes that the options ask for, or that the experiment makes by itself."""
        is_configured = bool(options.search.epochs or options.search.learning_rates)
        return dataclasses.replace(options.search, enabled=options.search.enabled and (self.searches or is_configured))


def _table1(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    return _chosen(
        [
            VANILLA,
            SFT,
            *map(known_methods.sft_for, options.sft_epochs),
            known_methods.rag(config, "bm25", "RAG (BM25)"),
            known_methods.rag(config, "dense", "RAG (dense)"),
            known_methods.MEMORY,
            *map(known_methods.checkpoint, options.checkpoints),
            *_classifiers(config),
            known_methods.RELEASED,
            SEMIEVOL,
        ],
        options,
    )


def _compare(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    return _chosen(
        [
            VANILLA,
            known_methods.rag(config, "bm25", "RAG (BM25)"),
            known_methods.rag(config, "dense", "RAG (dense)"),
            *map(known_methods.checkpoint, options.checkpoints),
            *_classifiers(config),
            SFT,
            *map(known_methods.sft_for, options.sft_epochs),
            known_methods.PSEUDO_LABEL_ALL,
            known_methods.RELEASED,
            SEMIEVOL,
            *([known_methods.ORACLE] if config.evaluate.unlabeled_answers else []),
        ],
        options,
    )


def _trust(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    return _chosen(
        [
            SFT,
            *_classifiers(config),
            known_methods.RELEASED,
            SEMIEVOL,
            known_methods.TRUSTED,
            *known_methods.TRUSTED_PARTS,
            *([known_methods.ORACLE] if config.evaluate.unlabeled_answers else []),
        ],
        options,
    )


def _classifiers(config: Config) -> list[Method]:
    """Methods without a language model; SetFit, whose training takes long, if the config names it."""
    if config.task.kind != "label":
        return []
    optional = [known_methods.SETFIT] if "setfit" in config.evaluate.baselines else []
    return [known_methods.LOGISTIC_REGRESSION, known_methods.SELF_TRAINED, *optional]


def _chosen(offered: Sequence[Method], options: Options) -> list[Method]:
    """The methods that `--methods` names, and those that other options ask for; all without it."""
    names = [method.name for method in offered]
    unknown = [name for name in options.methods if name not in names]
    if unknown:
        raise ConfigError(f"--methods: {unknown[0]!r} is not one of: {', '.join(names)}")
    if not options.methods:
        return list(offered)
    asked_names = {
        *options.methods,
        *options.checkpoints,
        *(known_methods.sft_for(epochs).name for epochs in options.sft_epochs),
    }
    return [method for method in offered if method.name in asked_names]


def _ablation(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    return [SEMIEVOL, *known_methods.ABLATIONS]


def _sensitivity(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    crew = config.collaborate.collaborators
    methods = [SFT]
    for n in options.counts:
        if crew and n > len(crew):
            raise ConfigError(
                f"sensitivity: the config lists {len(crew)} collaborators and --n wants {n}; list more, or take --n "
                f"1 to {len(crew)}"
            )
        listed = [collaborator.model_dump() for collaborator in crew[:n]]
        crew_of_n = {"collaborators": listed} if crew else {"n": n}
        methods.append(Method(f"n = {n}", "evolved", {"collaborate": crew_of_n}, series="collaborators n", x=float(n)))
    for theta in options.thetas:
        threshold = {"select": {"theta": theta / 100}}
        methods.append(Method(f"θ = {theta:g} %", "evolved", threshold, series="θ in %", x=float(theta)))
    return methods


def _continuous(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    labeled, unlabeled = len(dataset.labeled), len(dataset.unlabeled)
    methods = [SFT]
    for size in options.sizes:
        rows = round(size / 100 * labeled)
        if not 1 <= rows <= unlabeled:
            fitting = [str(size) for size in options.sizes if 1 <= round(size / 100 * labeled) <= unlabeled]
            raise ConfigError(
                f"continuous: {size} % of {labeled} labeled rows are {rows} unlabeled ones, and there are {unlabeled}; "
                f"take --sizes {' '.join(fitting) or '...'}, or raise data.unlabeled_rows if it is set"
            )
        changes = {"data": {"unlabeled_rows": rows}}
        methods.append(Method(f"{size} % unlabeled", "evolved", changes, series="SemiEvol", x=float(size)))
    return methods


def _iterative(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    rounds = range(1, options.rounds + 1)
    return [
        dataclasses.replace(SFT, name="round 0 (SFT)", series="SemiEvol", x=0.0),
        *(Method(f"round {n}", "evolved", {"rounds": n}, series="SemiEvol", x=float(n)) for n in rounds),
    ]


def _stability(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    path = None if options.instructions is None else Path(options.instructions)
    instructions = rephrasings(config, dataset, path)
    return [
        known_methods.told(method, number, instruction)
        for method in (VANILLA, SFT, SEMIEVOL)
        for number, instruction in enumerate(instructions, 1)
    ]


def _three(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    return [VANILLA, SFT, SEMIEVOL]


def _categories(config: Config, dataset: Dataset, options: Options) -> list[Method]:
    if config.data.columns.category is None:
        raise ConfigError("categories: data.columns.category is not set; name the column with each row's group")
    return _three(config, dataset, options)


COMPARE = Experiment("compare", "Does SemiEvol help here?", "", SFT.name, _compare, searches=True)
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("table1", "Methods", "Table 1", SFT.name, _table1, searches=True),
        Experiment("ablation", "What each part does", "Table 2", SEMIEVOL.name, _ablation),
        Experiment("sensitivity", "Collaborators and threshold", "Figure 3", SFT.name, _sensitivity, "points"),
        Experiment("entropy", "H on the test rows", "Figure 4", "", _three, "entropy"),
        Experiment("stability", "Rephrased instructions", "Figure 5", "", _stability, "stability"),
        Experiment("categories", "Accuracy by category", "Figure 6", SFT.name, _categories, "categories"),
        Experiment(
            "continuous",
            "Unlabeled data that grows",
            "section 4.3.6",
            SFT.name,
            _continuous,
            "points",
            "unlabeled rows in % of the labeled",
        ),
        Experiment("trust", "Pseudo-labels that can be trusted", "beyond the paper", SFT.name, _trust),
        Experiment("iterative", "Rounds", "Figure 7", "round 0 (SFT)", _iterative, "points", "round"),
    )
}
