"""What an experiment is run over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semievol.errors import ExperimentError


@dataclass(frozen=True)
class Search:
    """The recipes that SFT and SemiEvol may choose from, on a slice of the labeled rows."""

    epochs: tuple[int, ...] = ()
    """If it is empty and `enabled`: half, once, twice and three times the config's."""
    learning_rates: tuple[float, ...] = ()
    """The config's own if it is empty."""
    held_out: float = 0.2
    """The share of the labeled rows on which recipes are compared."""
    folds: int = 1
    """More than one: so many parts of the labeled rows, each of which is held out once, instead of one share."""
    enabled: bool = True
    """Off: the config's recipes as they are."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    configs: tuple[str, ...] = ()
    """Config files, each a task."""
    tasks: tuple[str, ...] = ()
    """Names of tasks in `config_folder`."""
    bases: tuple[str, ...] = ()
    """Base models: a name that files in `config_folder` end in, or a model id; the config's own if it is empty."""
    checkpoints: tuple[str, ...] = ()
    """Other models, evaluated as they are (table1, compare)."""
    seeds: tuple[int, ...] = ()
    """The config's own if it is empty."""
    overrides: tuple[str, ...] = ()
    """`section.option=value`, for every config."""
    methods: tuple[str, ...] = ()
    """The methods to run, by their names; all if it is empty (table1, compare)."""
    sft_epochs: tuple[int, ...] = ()
    """Further rows of SFT, with so many epochs (table1, compare)."""
    counts: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Numbers of collaborators (sensitivity)."""
    thetas: tuple[float, ...] = (10, 30, 50, 80, 100)
    """θ in percent (sensitivity)."""
    sizes: tuple[int, ...] = (50, 100, 200, 300)
    """Unlabeled rows in percent of the labeled ones (continuous)."""
    rounds: int = 4
    """Rounds at most (iterative)."""
    instructions: str | None = None
    """A file with rephrased instructions, one a line (stability)."""
    search: Search = field(default_factory=Search)
    add: tuple[Path, ...] = ()
    """Folders with results of other calls, which stand in the same tables."""
    out: Path = Path("runs/experiments")
    config_folder: Path = Path("configs")

    def __post_init__(self) -> None:
        """Refuses an address: runs of a grid share their work by a database and hard links."""
        if ":/" in str(self.out):
            raise ExperimentError(f"{self.out}: an experiment needs a folder on a disk; only runs may be at an address")


def from_arguments(arguments: Mapping[str, Any]) -> Options:
    """The options that the parsed command line gives."""
    usual, limit = Options(), arguments["max_cost"]
    return Options(
        configs=tuple(arguments["config"]),
        tasks=tuple(arguments.get("tasks", ())),
        bases=tuple(arguments.get("base", ())),
        checkpoints=tuple(arguments["model"]),
        seeds=tuple(arguments["seeds"]),
        overrides=(*arguments["overrides"], *([] if limit is None else [f"costs.max_cost={limit}"])),
        methods=tuple(arguments["methods"]),
        sft_epochs=tuple(arguments["sft_epochs"]),
        counts=tuple(arguments.get("n") or usual.counts),
        thetas=tuple(arguments.get("theta") or usual.thetas),
        sizes=tuple(arguments.get("sizes") or usual.sizes),
        rounds=arguments.get("rounds", usual.rounds),
        instructions=arguments.get("instructions"),
        search=Search(
            epochs=tuple(arguments["epochs"]),
            learning_rates=tuple(arguments["learning_rates"]),
            held_out=arguments["held_out"],
            folds=arguments["folds"],
            enabled=not arguments["no_search"],
        ),
        add=tuple(map(Path, arguments["add"])),
        out=Path(arguments["out"]),
        config_folder=Path(arguments.get("configs", usual.config_folder)),
    )
