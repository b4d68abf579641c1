"""What the commands of the program `semievol` take."""

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NoReturn

from semievol.errors import SemiEvolError
from semievol.run_folder import STAGES

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
FURTHER_EXPERIMENTS = ("trust",)
"""Beyond the paper."""
EPILOG = """\
  semievol init my.csv              look at a file and write a commented config for it, my.yaml
  semievol check my-task.yaml       look at the data, say what a run will do
  semievol plan my-task.yaml        what a run will do: requests, tokens, dollars, time
  semievol run my-task.yaml         run it; the same command resumes
  semievol predict my-task.yaml --input new.csv
  semievol export my-task.yaml      the model as a folder that is enough by itself
  semievol compare my-task.yaml     does it help here? SFT, RAG and others on the same rows
"""


_OVERRIDE = re.compile(r"(?:[a-z_]+(?:\.\w+)+|seed|output|preset|rounds)=.*", re.DOTALL)
"""An option of the config with a value, as it may stand beside the config's name."""
_CHOICE = re.compile(r"invalid choice: '(?P<said>[^']*)' \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """Says what is near to what it does not know."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the command's own usage."""
        if choice := _CHOICE.search(message):
            known = re.findall(r"[\w-]+", choice["known"])
            message += _near(choice["said"], known)
        super().error(message)

    def takes_value(self, token: str) -> bool:
        """Whether what follows belongs to this token."""
        action = self._option_string_actions.get(token)
        return action is not None and action.nargs != 0


def _near(said: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(said, known, n=1)
    return f". Did you mean {near[0]}?" if near else ""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line says. `section.option=value` may stand wherever a file may, as `--set` or without it."""
    program = parser()
    commands = _commands(program)
    command = commands.get(argv[0]) if argv else None
    if command is None:
        return program.parse_args(argv)
    tokens = [argv[0]]
    takes_set = "--set" in command._option_string_actions
    for before, token in pairwise(argv):
        if takes_set and _OVERRIDE.fullmatch(token) and not command.takes_value(before):
            token = f"--set={token}"
        tokens.append(token)
    arguments, unknown = program.parse_known_args(tokens)
    if unknown:
        known = [option for option in command._option_string_actions if option.startswith("--")]
        command.error(f"unrecognized arguments: {' '.join(unknown)}{_near(unknown[0].partition('=')[0], known)}")
    if hasattr(arguments, "config_file"):
        if arguments.config is None and arguments.config_file is None:
            command.error("a config file or run folder is expected")
        if arguments.config is not None and arguments.config_file is not None:
            command.error(f"two configs: {arguments.config} and {arguments.config_file}")
        arguments.config = arguments.config or arguments.config_file
    return arguments


def _commands(program: argparse.ArgumentParser) -> dict[str, Parser]:
    for action in program._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parser() -> argparse.ArgumentParser:
    """The program's commands; `command` of what is parsed is the name of the one that was asked for."""
    program = Parser(
        prog="semievol",
        description="Few labels and many unlabeled prompts in, a better language model out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program.add_argument("--version", action="version", version=_version())
    commands = program.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_)
        command.set_defaults(command=name)
        return command

    _add_runs(add)
    _add_uses(add)
    _add_experiments(add)
    _add_house_keeping(add)
    return program


Add = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command with what it does."""


def _add_runs(add: Add) -> None:
    _takes_files(add("init", "write a commented config, for your own files if you name them"))
    for name, text in (
        ("check", "look at the data and say what a run will do; nothing is trained"),
        ("plan", "say what a run will do: requests, tokens, steps, time, and dollars at a service"),
        ("run", "run all stages; a second run resumes"),
        ("evaluate", "measure the run's models on the test rows"),
    ):
        sub = add(name, text)
        _takes_config(sub)
        if name in ("check", "plan"):
            sub.add_argument("--no-timing", action="store_true", help="do not load the model to estimate the time")
        else:
            _takes_redo(sub)
        if name != "check":
            _takes_max_cost(sub)
    stage = add("stage", "run one stage, and those before it that are not done")
    stage.add_argument("name", choices=STAGES)
    _takes_config(stage)
    _takes_redo(stage)
    _takes_max_cost(stage)
    cancel = add("cancel", "end the fine-tuning job that the run waits for at a service")
    _takes_config(cancel)
    status = add("status", "say how far a run has come")
    _takes_config(status)


def _add_uses(add: Add) -> None:
    _takes_config(add("gate", "end with 0 only if the evolved model is not worse than SFT beyond noise"))
    _takes_rows_to_label(add("ask", "write the unlabeled rows that are most worth a label, as a file to fill in"))
    _takes_rows(add("predict", "answer new rows with a run's model; your columns come out with answers"))
    _takes_export(add("export", "write the evolved model as a folder that is enough by itself"))


def _add_experiments(add: Add) -> None:
    compare = add("compare", "hold SemiEvol against SFT, RAG and others on the same rows")
    _takes_config(compare)
    _takes_grid(compare)
    experiment = add("experiment", "make one of the paper's tables or figures, for any tasks and models")
    names = (*PAPER_EXPERIMENTS, *FURTHER_EXPERIMENTS, "results")
    experiment.add_argument("name", choices=names, help="results: all that is there, as one page")
    _takes_experiment(experiment)
    _takes_grid(experiment)


def _add_house_keeping(add: Add) -> None:
    _takes_config(add("report", "write the page and the model card anew, from what stages there are"))
    listing = add("list", "the runs below a folder: how far they are, what came of them")
    listing.add_argument("folder", nargs="?", type=_path, default="runs", help="where they lie (runs)")
    _takes_config(add("clean", "remove what a run makes anew when it needs it: stored rows, checkpoints"))
    verify = add("verify", "say whether every file of a run is as its stage left it")
    _takes_config(verify)
    verify.add_argument("--mend", action="store_true", help="take away what is damaged; `run` makes it again")
    add("env", "say what is installed and what the machine has, for a report of a fault")
    completion = add("completion", "print a script that completes commands and options in a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh", "powershell"))
    config = add("config", "show the resolved config, check it, or print its JSON schema")
    config.add_argument("what", choices=("show", "check", "schema"))
    config.add_argument("config", nargs="?", type=_path, help="config file; the defaults if it is left out")
    _takes_set(config)


def _path(text: str) -> str:
    """A path or address as `expanded` has it, for argparse."""
    from semievol.config.paths import expanded

    try:
        return expanded(text)
    except SemiEvolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _takes_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        type=_path,
        metavar="FILE",
        help="rows with answers, rows without, test rows, in this order; and where to write it, which ends in .yaml",
    )
    parser.add_argument("--prompt", metavar="COLUMN", help="the column that is asked about, if the guess is wrong")
    parser.add_argument("--answer", metavar="COLUMN", help="the column of the answers")
    parser.add_argument("--task", metavar="KIND", help="label, labels, multiple_choice, number or free_text")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing: take the guesses")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")


def _takes_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", nargs="?", type=_path, help="config file or run folder; behind it section.option=value, as with --set"
    )
    parser.add_argument("--config", "-c", dest="config_file", type=_path, metavar="CONFIG", help="the same")
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


def _takes_rows(parser: argparse.ArgumentParser) -> None:
    _takes_config(parser)
    parser.add_argument(
        "--input", "-i", type=_path, default="-", help="file of prompts, as in the config; - reads lines of stdin"
    )
    parser.add_argument(
        "--output", "-o", type=_path, default="-", help=".csv, .tsv, .parquet or JSON Lines, which - prints"
    )
    parser.add_argument("--model", choices=("base", "warm", "evolved"), default="evolved")


def _takes_rows_to_label(parser: argparse.ArgumentParser) -> None:
    _takes_config(parser)
    parser.add_argument("--rows", type=int, default=20, help="so many (20)")
    parser.add_argument("--output", "-o", type=_path, default="to-label.csv", help="the file (to-label.csv)")


def _takes_export(parser: argparse.ArgumentParser) -> None:
    _takes_config(parser)
    parser.add_argument("--output", "-o", type=_path, default="exported", help="the folder (exported)")
    parser.add_argument("--merged", action="store_true", help="a whole model in place of an adapter")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="the type of merged weights (that of the run)",
    )
    parser.add_argument("--no-compare", action="store_true", help="do not have it answer rows as the run does first")
    parser.add_argument(
        "--data",
        choices=("chat", "prompt-completion", "alpaca", "label-studio", "argilla"),
        help="in place of the model the rows that trained it, labeled and pseudo-labeled, as a file",
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload it to the Hugging Face hub too, as yours alone")
    parser.add_argument("--public", action="store_true", help="as everybody's")


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
    points = parser.add_argument_group("points of single experiments")
    points.add_argument("--n", nargs="+", type=int, metavar="N", help="sensitivity: numbers of collaborators (1 to 5)")
    points.add_argument("--theta", nargs="+", type=float, metavar="PERCENT", help="sensitivity: θ (10 30 50 80 100)")
    points.add_argument("--sizes", nargs="+", type=int, metavar="PERCENT", help="continuous: unlabeled of labeled rows")
    points.add_argument("--rounds", type=int, default=4, help="iterative: rounds at most (4)")
    points.add_argument(
        "--instructions", type=_path, metavar="FILE", help="stability: rephrased instructions, one a line"
    )


def _takes_redo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redo",
        choices=STAGES,
        help="make this stage and the later ones anew; what they hold goes when that has begun",
    )


def _takes_max_cost(parser: argparse.ArgumentParser, subject: str = "the run") -> None:
    parser.add_argument(
        "--max-cost",
        type=float,
        metavar="DOLLARS",
        help=f"stop before services could have charged more than this for {subject}, earlier sessions included",
    )


def _version() -> str:
    from importlib.metadata import version

    return f"semievol {version('semievol')}"
