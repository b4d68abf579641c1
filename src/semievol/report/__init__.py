"""What a run came to, for a person: a table, a page and a model card."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from semievol.config.places import Place
from semievol.run_folder.folder import RunFolder

if TYPE_CHECKING:
    from semievol.data import Dataset


def finish(path: Place, dataset: "Dataset | None" = None) -> None:
    """Writes report.html and the model card of the run in `path`, from whatever stages there are.

    What cannot be drawn is left out, and said on standard error.

    Args:
        dataset: the run's rows, if they are loaded already; else they are read from their sources.

    Raises:
        ConfigError: there is no run in the folder.
    """
    from semievol.config import load as load_config
    from semievol.data import load
    from semievol.report.card import write_card
    from semievol.report.page import write_report
    from semievol.terminal import visible

    folder = RunFolder(path)
    if dataset is None:
        # Read once for both. If it cannot be read, for whatever reason, the page says why.
        with suppress(Exception):
            dataset = load(load_config(folder.config_path), folder.rows_path)
    for line in dict.fromkeys([*write_report(folder, dataset), *write_card(folder, dataset)]):
        print(visible(f"semievol: left out of report and card: {line}"), file=sys.stderr)


def print_results(path: Place) -> None:
    """Prints the table of results, and where the model, the report and the run lie."""
    from semievol.report.table import terminal
    from semievol.terminal import TextConsole

    TextConsole().print(terminal(RunFolder(path)))
