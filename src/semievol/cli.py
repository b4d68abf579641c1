"""The program `semievol`: each command parses, makes one call and prints."""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from semievol.arguments import parse, parser
from semievol.errors import ConfigError, SemiEvolError, Stopped, redacted, refused_by_system

if TYPE_CHECKING:
    from semievol.config import Config
    from semievol.config.places import Place
    from semievol.experiments.catalogue import Experiment
    from semievol.experiments.options import Options
    from semievol.progress import Reporter


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 for an error that is the user's to mend, 130 when stopped."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        COMMANDS[arguments.command](arguments)
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
            sys.stderr.write(redacted(traceback.format_exc()))  # as Python would, but for keys
        else:
            _complain(line)
        return 1
    return 0


def _complain(line: str) -> None:
    """Says on standard error what stood in the way; the line may quote the user's data."""
    from semievol.terminal import visible

    print(visible(f"semievol: {line}"), file=sys.stderr)


def _load(arguments: argparse.Namespace) -> "Config":
    from semievol import config

    limit = getattr(arguments, "max_cost", None)
    overrides = [*arguments.overrides, *([] if limit is None else [f"costs.max_cost={limit}"])]
    return config.load(arguments.config, overrides)


def _init(arguments: argparse.Namespace) -> None:
    from semievol.config.starter import write_config
    from semievol.terminal import visible

    configs = [file for file in arguments.files if file.endswith((".yaml", ".yml"))]
    sources = [file for file in arguments.files if file not in configs]
    if len(configs) > 1 or len(sources) > 3:
        raise ConfigError("init: one config to write, and at most labeled, unlabeled and test rows, are expected")
    begun = None
    name = "semievol.yaml"
    if sources:
        from semievol.forecast.starting import start

        said = {"prompt": arguments.prompt, "answer": arguments.answer, "kind": arguments.task}
        said = {part: reply for part, reply in said.items() if reply is not None}
        labeled, unlabeled, test = [*sources, None, None][:3]
        ask = _asked if sys.stdin.isatty() and not arguments.yes else None
        begun, lines = start(labeled, unlabeled, test, said, ask)
        name = f"{begun.name}.yaml"
        print(visible("\n".join(lines)))
    path = configs[0] if configs else name
    write_config(Path(path), begun, force=arguments.force)
    advice = "look through it" if sources else "fill in the files and columns"
    print(f"{path} written: {advice}, then\n  semievol check {path}")


def _asked(question: str, guessed: str) -> str:
    """What the user says; the guess if that is nothing."""
    return input(f"{question} [{guessed}]: ").strip() or guessed


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
    from semievol.library import run
    from semievol.report import print_results

    result = run(_load(arguments), redo=arguments.redo)
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


def _print_failures(path: "Place") -> None:
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
    if arguments.model == "evolved" and (caution := _caution(config.output)):
        print(visible(f"semievol: caution: {caution}"), file=sys.stderr)


def _caution(output: str) -> str | None:
    from semievol.report.gate import warning
    from semievol.run_folder.folder import RunFolder

    return warning(RunFolder(output))


def _gate(arguments: argparse.Namespace) -> None:
    from semievol.report.gate import require_gate
    from semievol.run_folder.folder import RunFolder
    from semievol.terminal import visible

    for line in require_gate(RunFolder(_load(arguments).output)):
        print(visible(line))


def _ask(arguments: argparse.Namespace) -> None:
    from semievol.data import load
    from semievol.report.ask import ask
    from semievol.terminal import visible

    config = _load(arguments)
    print(visible(ask(config, load(config), arguments.rows, Path(arguments.output))))


def _export(arguments: argparse.Namespace) -> None:
    from semievol.data import load
    from semievol.predict.exporting import Form, export
    from semievol.predict.hub import push
    from semievol.predict.training_data import write_training_data
    from semievol.terminal import visible

    config, output = _load(arguments), Path(arguments.output)
    if arguments.data:
        lines = [write_training_data(config, load(config), arguments.data, output)]
    else:
        form = Form(arguments.merged, arguments.dtype, not arguments.no_compare)
        with _session(config.output) as reporter:
            lines = export(config, output, form, reporter)
    if arguments.push:
        lines.append(push(output, arguments.push, public=arguments.public, data=bool(arguments.data)))
    for line in lines:
        print(visible(line))


def _report(arguments: argparse.Namespace) -> None:
    from semievol.config.paths import path_of
    from semievol.report import finish, print_results

    path = path_of(_load(arguments).output)
    finish(path)
    print_results(path)


def _list(arguments: argparse.Namespace) -> None:
    from semievol.report.runs import print_runs

    print_runs(Path(arguments.folder))


def _clean(arguments: argparse.Namespace) -> None:
    from semievol.run_folder.cleaning import clean
    from semievol.run_folder.folder import RunFolder
    from semievol.terminal import visible

    for line in clean(RunFolder(_load(arguments).output)):
        print(visible(line))


def _verify(arguments: argparse.Namespace) -> None:
    from semievol.report.verified import print_inspection
    from semievol.run_folder.folder import RunFolder

    is_folder = arguments.config is not None and Path(arguments.config).is_dir()  # its config may be damaged too
    print_inspection(RunFolder(arguments.config if is_folder else _load(arguments).output), arguments.mend)


def _env(arguments: argparse.Namespace) -> None:
    from semievol.stages.session import environment_lines

    print("\n".join(environment_lines()))


def _completion(arguments: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(parser(), arguments.shell), end="")


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
    from semievol.experiments.measurements import require_own
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
        findings = run_experiment(experiment, options, reporter, folder)
    show(findings, folder)


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


def _session(output: str, reporter: "Reporter | None" = None) -> "AbstractContextManager[Reporter]":
    """Progress on the terminal, a log in the run folder, and signals to stop that let the stages save."""
    from semievol.progress import reporter_for_terminal, reporting
    from semievol.run_folder.folder import RunFolder

    return reporting(RunFolder(output).log_path, reporter or reporter_for_terminal())


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "init": _init,
    "check": _check,
    "plan": _plan,
    "run": _run,
    "stage": _stage,
    "evaluate": _evaluate,
    "predict": _predict,
    "cancel": _cancel,
    "status": _status,
    "gate": _gate,
    "ask": _ask,
    "export": _export,
    "report": _report,
    "list": _list,
    "clean": _clean,
    "verify": _verify,
    "env": _env,
    "completion": _completion,
    "compare": _compare,
    "experiment": _experiment,
    "config": _config,
}

if __name__ == "__main__":
    sys.exit(main())
