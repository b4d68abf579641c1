"""What a run came to, for a person: a table, a page and a model card."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from semievol.errors import SemiEvolError
from semievol.run_dir import RunDir

if TYPE_CHECKING:
    from semievol.data import Dataset


def finish(path: Path, dataset: "Dataset | None" = None) -> None:
    """Writes report.html and the model card of the run in `path`, from whatever stages there are.

    Args:
        dataset: the run's rows, where they are loaded already; else they are read from their sources.
    """
    from semievol.config import load as load_config
    from semievol.data import load
    from semievol.report.card import write_card
    from semievol.report.page import write_report

    folder = RunDir(path)
    if dataset is None:
        # Read once for both. Where it cannot be read, the page says why.
        with suppress(SemiEvolError):
            dataset = load(load_config(folder.config_path), folder.rows_path)
    write_report(folder, dataset)
    write_card(folder, dataset)


def print_results(path: Path) -> None:
    """Prints the table of results, and where the model, the report and the run lie."""
    from semievol.progress import console
    from semievol.report.table import terminal

    console().print(terminal(RunDir(path)))
