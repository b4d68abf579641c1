"""The program `semievol`: each command parses, makes one call and prints."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semievol.errors import SemiEvolError, Stopped, refused_by_system

if TYPE_CHECKING:
    from semievol.config import Config
    from semievol.experiments.catalogue import Experiment
    from semievol.experiments.options import Options
    from semievol.progress import Reporter

PAPER_EXPERIMENTS = (
    "table1",
    "ablation",
    "sensitivity",
    "entropy",
    "stability",
    "categories",
    "continuous",
    "iterative",
)
STAGE_NAMES = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")

EPILOG = """\
  semievol init my-task.yaml        write a commented config
  semievol check my-task.yaml       look at the data, say what a run will do
  semievol plan my-task.yaml        what a run will do: requests, tokens, dollars, time
  semievol run my-task.yaml         run it; the same command resumes
  semievol predict my-task.yaml --input new.csv
  semievol compare my-task.yaml     does it help here? SFT, RAG and others on the same rows
"""


STOPPING = signal.SIGINT, signal.SIGTERM
"""Ctrl-C, and what schedulers, containers and machines about to be taken away send before they kill."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 for an error that is the user's to mend, 130 when stopped."""
    arguments = _parser().parse_args(argv)
    try:
        command: Callable[[argparse.Namespace], None] = arguments.command
        command(arguments)
    except Stopped as stopped:
        _complain(str(stopped))
        return 130
    except KeyboardInterrupt:
        _complain("stopped; finished answers are saved, the same command goes on from here")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is left to say
        return 1
    except SemiEvolError as error:
        _complain(str(error))
        return 1
    except Exception as error:
        if (line := refused_by_system(error)) is None:
            raise
        _complain(line)
        return 1
    return 0


def _complain(line: str) -> None:
    """Says on standard error what stood in the way; the line may quote the user's data."""
    from semievol.terminal import visible

    print(visible(f"semievol: {line}"), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="semievol",
        description="Few labels and many unlabeled prompts in, a better language model out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, call: Callable[[argparse.Namespace], None], help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=call)
        return sub

    init = add("init", _init, "write a commented config for your own files")
    init.add_argument("path", nargs="?", type=_path, default="semievol.yaml", help="where to write it (semievol.yaml)")
    init.add_argument("--force", action="store_true", help="overwrite a file that is there")
    for name, call, text in (
        ("check", _check, "look at the data and say what a run will do; nothing is trained"),
        ("plan", _plan, "say what a run will do: requests, tokens, steps, time, and dollars at a service"),
        ("run", _run, "run all stages; a second run resumes"),
        ("evaluate", _evaluate, "measure the run's models on the test rows"),
    ):
        sub = add(name, call, text)
        _takes_config(sub)
        if name in ("check", "plan"):
            sub.add_argument("--no-timing", action="store_true", help="do not load the model to estimate the time")
        else:
            _takes_redo(sub)
        if name != "check":
            _takes_max_cost(sub)
    stage = add("stage", _stage, "run one stage, and those before it that are not done")
    stage.add_argument("name", choices=STAGE_NAMES)
    _takes_config(stage)
    _takes_redo(stage)
    _takes_max_cost(stage)
    cancel = add("cancel", _cancel, "end the fine-tuning job that the run waits for at a service")
    _takes_config(cancel)
    status = add("status", _status, "say how far a run has come")
    _takes_config(status)
    predict = add("predict", _predict, "answer new rows with a run's model; your columns come out with answers")
    _takes_config(predict)
    predict.add_argument(
        "--input", "-i", type=_path, default="-", help="file of prompts, as in the config; - reads lines of stdin"
    )
    predict.add_argument(
        "--output", "-o", type=_path, default="-", help=".csv, .tsv, .parquet or JSON Lines, which - prints"
    )
    predict.add_argument("--model", choices=("base", "warm", "evolved"), default="evolved")
    compare = add("compare", _compare, "hold SemiEvol against SFT, RAG and others on the same rows")
    _takes_config(compare)
    _takes_grid(compare)
    experiment = add("experiment", _experiment, "make one of the paper's tables or figures, for any tasks and models")
    experiment.add_argument(
        "name", choices=(*PAPER_EXPERIMENTS, "results"), help="results: all that is there, as one page"
    )
    _takes_experiment(experiment)
    _takes_grid(experiment)
    shown = add("config", _config, "show the resolved config, check it, or print its JSON schema")
    shown.add_argument("what", choices=("show", "check", "schema"))
    shown.add_argument("config", nargs="?", type=_path, help="config file; the defaults where it is left out")
    _takes_set(shown)
    return parser


def _path(text: str) -> str:
    """A path or address as `expanded` has it, for argparse."""
    from semievol.config.paths import expanded

    try:
        return expanded(text)
    except SemiEvolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _takes_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=_path, help="config file or run folder")
    _takes_set(parser)


def _takes_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.OPTION=VALUE",
        help="override an option of the file",
    )


def _takes_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", action="store_true", help="only say what it will do: requests, steps, time, dollars")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="SEED", help="the config's own if left out")
    parser.add_argument("--model", nargs="+", default=[], metavar="ID", help="other models, evaluated as they are")
    parser.add_argument("--methods", nargs="+", default=[], metavar="NAME", help="only these rows of the table")
    parser.add_argument("--sft-epochs", nargs="+", type=int, default=[], metavar="N", help="rows of SFT with N epochs")
    parser.add_argument(
        "--out", type=_path, default="runs/experiments", help="where runs and results go (runs/experiments)"
    )
    parser.add_argument(
        "--add", nargs="+", type=_path, default=[], metavar="FOLDER", help="results of other calls, in one table"
    )
    _takes_max_cost(parser, "all runs together")
    search = parser.add_argument_group("search for the recipes of SFT and SemiEvol, on held-out labeled rows")
    search.add_argument("--epochs", nargs="+", type=int, default=[], metavar="N", help="epochs to try")
    search.add_argument("--learning-rates", nargs="+", type=float, default=[], metavar="RATE", help="rates to try")
    search.add_argument("--held-out", type=float, default=0.2, metavar="SHARE", help="of the labeled rows (0.2)")
    search.add_argument(
        "--folds", type=int, default=1, metavar="K", help="K-fold cross-validation instead (1: a share)"
    )
    search.add_argument("--no-search", action="store_true", help="take the config's recipes as they are")


def _takes_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", nargs="+", type=_path, default=[], metavar="FILE", help="your own data: config files"
    )
    parser.add_argument("--tasks", nargs="+", default=[], metavar="TASK", help="tasks of the configs folder: mmlu, fpb")
    parser.add_argument(
        "--configs", type=_path, default="configs", metavar="FOLDER", help="where their files lie (configs)"
    )
    parser.add_argument(
        "--base", nargs="+", default=[], metavar="MODEL", help="base models: smollm2, llama31, or any model id"
    )
    _takes_set(parser)
    some = parser.add_argument_group("points of single experiments")
    some.add_argument("--n", nargs="+", type=int, metavar="N", help="sensitivity: numbers of collaborators (1 to 5)")
    some.add_argument("--theta", nargs="+", type=float, metavar="PERCENT", help="sensitivity: θ (10 30 50 80 100)")
    some.add_argument("--sizes", nargs="+", type=int, metavar="PERCENT", help="continuous: unlabeled of labeled rows")
    some.add_argument("--rounds", type=int, default=4, help="iterative: rounds at most (4)")
    some.add_argument(
        "--instructions", type=_path, metavar="FILE", help="stability: rephrased instructions, one a line"
    )


def _takes_redo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redo",
        choices=STAGE_NAMES,
        help="make this stage and the later ones anew; what they hold goes when that has begun",
    )


def _takes_max_cost(parser: argparse.ArgumentParser, what: str = "the run") -> None:
    parser.add_argument(
        "--max-cost",
        type=float,
        metavar="DOLLARS",
        help=f"stop before services could have charged more than this for {what}, earlier sessions included",
    )


def _version() -> str:
    from importlib.metadata import version

    return f"semievol {version('semievol')}"


def _load(arguments: argparse.Namespace) -> "Config":
    from semievol import config

    limit = getattr(arguments, "max_cost", None)
    overrides = [*arguments.overrides, *([] if limit is None else [f"costs.max_cost={limit}"])]
    return config.load(arguments.config, overrides)


def _init(arguments: argparse.Namespace) -> None:
    from semievol.config.starter import write_config

    write_config(Path(arguments.path), force=arguments.force)
    print(f"{arguments.path} written: fill in the files and columns, then\n  semievol check {arguments.path}")


def _check(arguments: argparse.Namespace) -> None:
    from semievol.forecast.check import check, show
    from semievol.terminal import TextConsole

    show(TextConsole(), check(_load(arguments), measure=not arguments.no_timing))


def _plan(arguments: argparse.Namespace) -> None:
    from semievol.data import load
    from semievol.forecast.check import show_plan
    from semievol.forecast.plan import make_plan
    from semievol.terminal import TextConsole

    config = _load(arguments)
    show_plan(TextConsole(), make_plan(config, load(config), measure=not arguments.no_timing))


def _run(arguments: argparse.Namespace) -> None:
    from semievol.forecast.check import check, show
    from semievol.report import finish, print_results
    from semievol.run_folder.folder import RunFolder
    from semievol.terminal import TextConsole

    config = _load(arguments)
    RunFolder(config.output).claim()
    with _session(config.output) as reporter:
        checked = check(config, measure=False, folder=RunFolder(config.output).rows_path)
        show(TextConsole(stderr=True), checked)
        from semievol.pipeline import run

        result = run(config, redo=arguments.redo, reporter=reporter, dataset=checked.dataset)
    finish(result.path, checked.dataset)
    print_results(result.path)
    _print_failures(result.path)


def _evaluate(arguments: argparse.Namespace) -> None:
    arguments.name = "evaluate"
    _stage(arguments)


def _stage(arguments: argparse.Namespace) -> None:
    from semievol.pipeline import run
    from semievol.report import finish, print_results
    from semievol.report.status import print_status
    from semievol.run_folder.folder import RunFolder

    config = _load(arguments)
    RunFolder(config.output).claim()
    with _session(config.output) as reporter:
        result = run(config, until=arguments.name, redo=arguments.redo, reporter=reporter)
    finish(result.path)
    if result.metrics is not None and arguments.name == "evaluate":
        print_results(result.path)
        _print_failures(result.path)
    else:
        print_status(result.path)


def _cancel(arguments: argparse.Namespace) -> None:
    from semievol.training.hosted.cancel import cancel

    for line in cancel(_load(arguments)):
        print(line)


def _print_failures(path: Path) -> None:
    from semievol.report.failures import failure_lines
    from semievol.run_folder.folder import RunFolder
    from semievol.terminal import visible

    for line in failure_lines(RunFolder(path)):
        print(visible(line), file=sys.stderr)


def _status(arguments: argparse.Namespace) -> None:
    from semievol.config.paths import path_of
    from semievol.report.status import print_status

    path = path_of(arguments.config)
    print_status(path if path.is_dir() else path_of(_load(arguments).output))


def _predict(arguments: argparse.Namespace) -> None:
    from semievol.predict import predict, require_model
    from semievol.terminal import visible

    config = _load(arguments)
    require_model(config, arguments.model)
    with _session(config.output) as reporter:
        line = predict(config, arguments.model, arguments.input, arguments.output, reporter)
    print(visible(line), file=sys.stderr)


def _compare(arguments: argparse.Namespace) -> None:
    from semievol.experiments.catalogue import COMPARE

    folder = Path(arguments.out, "compare", Path(arguments.config).stem)
    arguments.config = [arguments.config]
    _run_experiment(arguments, COMPARE, folder)


def _experiment(arguments: argparse.Namespace) -> None:
    from semievol.experiments.catalogue import EXPERIMENTS
    from semievol.experiments.results import page
    from semievol.terminal import visible

    if arguments.name == "results":
        print(visible(page(Path(arguments.out))), end="")
    else:
        _run_experiment(arguments, EXPERIMENTS[arguments.name], Path(arguments.out, arguments.name))


def _run_experiment(arguments: argparse.Namespace, experiment: "Experiment", folder: Path) -> None:
    from semievol.experiments.experiment import run_experiment
    from semievol.experiments.measured import require_own
    from semievol.experiments.options import from_arguments
    from semievol.experiments.progress import grid_reporter_for_terminal
    from semievol.experiments.results import show

    options = from_arguments(vars(arguments))
    if arguments.plan:
        _plan_experiment(experiment, options)
        return
    require_own(folder)
    reporter = grid_reporter_for_terminal()
    with _session(str(folder), reporter):
        found = run_experiment(experiment, options, reporter, folder)
    show(found, folder)


def _plan_experiment(experiment: "Experiment", options: "Options") -> None:
    from semievol.experiments.estimate import estimate
    from semievol.forecast.check import show_plan
    from semievol.terminal import TextConsole

    show_plan(TextConsole(), estimate(experiment, options), "all runs together")


def _config(arguments: argparse.Namespace) -> None:
    from semievol import config

    if arguments.what == "schema":
        print(json.dumps(config.schema(), indent=2))
        return
    resolved = _load(arguments) if arguments.config else config.build({}, arguments.overrides)
    if arguments.what == "show":
        print(config.dump(resolved), end="")
    else:
        print(f"{arguments.config or 'the default config'}: no errors")


class _session:
    """Progress on the terminal, a log in the run folder, and signals to stop that let the stages save."""

    def __init__(self, output: str, reporter: "Reporter | None" = None) -> None:
        self._output, self._given = output, reporter

    def __enter__(self) -> "Reporter":
        from semievol.progress import log_to, reporter_for_terminal
        from semievol.run_folder.folder import RunFolder

        log_to(RunFolder(self._output).log_path)
        self._reporter = self._given or reporter_for_terminal()
        self._before = {each: signal.signal(each, self._interrupted) for each in STOPPING}
        return self._reporter

    def __exit__(self, *error: object) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)

    def _interrupted(self, *_: object) -> None:
        if self._reporter.stopping:
            raise KeyboardInterrupt
        self._reporter.stopping = True
        self._reporter.say("stopping: what is in flight is finished and saved; Ctrl-C again stops at once")


if __name__ == "__main__":
    sys.exit(main())
