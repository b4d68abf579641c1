"""What an experiment runs over: a task with a base model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semievol.config import Config, changed, load
from semievol.errors import ConfigError
from semievol.experiments.options import Options

LAPTOP, PAPER = "smollm2", "llama31"
"""The endings of the files in configs/: the model a laptop runs, and the paper's."""
PACKAGED = Path(__file__).parent / "configs"
"""Where an installed package has these files; a clone has them in its root."""


@dataclass(frozen=True)
class Target:
    """One task and one base model."""

    task: str
    base: str
    """The model's name as tables show it."""
    config: Config
    source: str
    """The config file."""

    def with_seed(self, seed: int) -> Config:
        """The config of one seed."""
        return changed(self.config, {"seed": seed})

    def seeds(self, options: Options) -> Sequence[int]:
        """The seeds to run."""
        return options.seeds or (self.config.seed,)


def targets(options: Options) -> list[Target]:
    """The targets that the options name, in their order.

    Raises:
        ConfigError: there are none, one of them stands twice, has no test rows, or its config cannot be read.
    """
    all_targets = [
        _target(Path(path).stem, path, base, options) for path in options.configs for base in options.bases or ("",)
    ]
    for task in options.tasks:
        all_targets += [_shipped(task, base, options) for base in options.bases or (LAPTOP,)]
    if not all_targets:
        raise ConfigError("nothing to run on: name a config with --config, or tasks of the configs folder with --tasks")
    names = set()
    for target in all_targets:
        if (target.task, target.base) in names:
            raise ConfigError(
                f"{target.task} with {target.base} is named twice; give one of the config files another name"
            )
        names.add((target.task, target.base))
        if target.config.data.test is None:
            raise ConfigError(f"{target.source}: data.test is not set, and an experiment measures on test rows")
        if target.config.data.unlabeled is None:
            raise ConfigError(f"{target.source}: data.unlabeled is not set, and an experiment needs unlabeled rows")
    return all_targets


def _shipped(task: str, base: str, options: Options) -> Target:
    """The target of a config in the folder; a model id takes the paper's recipe."""
    folder = options.config_folder if options.config_folder.is_dir() else PACKAGED
    if (folder / f"{task}-{base}.yaml").exists():
        return _target(task, str(folder / f"{task}-{base}.yaml"), "", options)
    path = folder / f"{task}-{PAPER}.yaml"
    if not path.exists():
        names = sorted(p.name.removesuffix(f"-{PAPER}.yaml") for p in folder.glob(f"*-{PAPER}.yaml"))
        raise ConfigError(
            f"--tasks: {folder} has no {task}-{base}.yaml; tasks there: {', '.join(names) or 'none'}. "
            "For data of your own: --config FILE; for another folder: --configs FOLDER"
        )
    return _target(task, str(path), base, options)


def _target(task: str, path: str, base: str, options: Options) -> Target:
    config = load(path, options.overrides)
    if base:
        config = changed(config, {"model": {"name": base, "revision": None}})
    for ending in (LAPTOP, PAPER):
        task = task.removesuffix(f"-{ending}")
    base_name = "fake model" if config.backend.kind == "fake" else short_name(config.model.name)
    return Target(task, base_name, config, path)


def short_name(model: str) -> str:
    """The last part of a model's id or path, without what says how it is stored."""
    return model.rstrip("/").rpartition("/")[2].removesuffix(".gguf").partition(".Q")[0]
