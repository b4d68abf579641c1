"""The package from Python: runs, checks and comparisons on files or on rows in memory, and what a run left."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semievol import pipeline
from semievol.config import Config, build, changed, dump
from semievol.config import load as load_config
from semievol.config.places import Place
from semievol.data.in_memory import save_rows
from semievol.errors import ConfigError
from semievol.progress import Reporter, reporter_for_terminal, reporting
from semievol.run_folder.folder import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from semievol.experiments.results import Findings
    from semievol.forecast.check import Checked
    from semievol.forecast.plan import Plan

ConfigLike = Config | str | Path | Mapping[str, Any]
"""A config, its file, a run folder, or its sections."""
INPUT = "input"
"""In a run folder: the rows that were in memory."""
PSEUDO_COLUMNS = ("id", "answer", "kept", "weight", "probability", "mean_nll", "agreement", "origin", "reason")


@dataclass(frozen=True)
class Run(pipeline.RunResult):
    """What a run came to, and its models.

    `path`, `weights` and `metrics` are those of `semievol.pipeline.RunResult`; a table is a `pyarrow.Table`, whose
    `to_pandas()` is a DataFrame.
    """

    @property
    def report(self) -> Place:
        """The page for a person."""
        return self.path / "report.html"

    def predict(self, rows: Any, model: str = "evolved", *, progress: bool = True) -> "pa.Table":
        """The rows with their answers, as `semievol predict` writes them.

        Args:
            rows: texts, each a whole prompt, or rows as `semievol.run` takes them, with the columns of the run's data.
            model: `base`, `warm` or `evolved`.
            progress: show how far it has come.

        Raises:
            SemiEvolError: the run has no such model, or the rows cannot be read.
        """
        import pyarrow.parquet as pq

        from semievol.predict import predict
        from semievol.report.gate import warning

        folder = RunFolder(self.path)
        if model == "evolved" and (caution := warning(folder)):
            warnings.warn(caution, stacklevel=2)
        with tempfile.TemporaryDirectory(prefix="semievol-") as scratch, _reporting(folder, progress) as reporter:
            target = Path(scratch, "answers.parquet")
            predict(load_config(self.path), model, _source(rows, Path(scratch)), str(target), reporter)
            return pq.read_table(target)

    def probabilities(self, rows: Any, model: str = "evolved", *, progress: bool = True) -> "pa.Table":
        """How likely the model finds each answer of a closed set: a column for each, a row for each row, sums of 1.

        They are the model's own and not calibrated. A row that cannot be scored is null.

        Args:
            rows: as for `predict`.
            model: `base`, `warm` or `evolved`.
            progress: show how far it has come.

        Raises:
            SemiEvolError: answers are not of a closed set, the engine gives no probabilities, or as `predict`.
        """
        import pyarrow as pa

        from semievol.predict.probabilities import probabilities

        folder = RunFolder(self.path)
        with tempfile.TemporaryDirectory(prefix="semievol-") as scratch, _reporting(folder, progress) as reporter:
            shares = probabilities(load_config(self.path), model, _source(rows, Path(scratch)), reporter)
        answers = dict.fromkeys(answer for row in shares if row for answer in row)
        columns = {answer: [None if row is None else row.get(answer, 0.0) for row in shares] for answer in answers}
        return pa.table({answer: pa.array(column, pa.float64()) for answer, column in columns.items()})

    def export(self, path: str | Path, *, merged: bool = False, dtype: str = "auto", progress: bool = True) -> Path:
        """The evolved model as a folder that is enough by itself, as `semievol export` writes it.

        Args:
            path: a folder that is new, or an earlier export.
            merged: a whole model in place of an adapter.
            dtype: of merged weights: `float32`, `bfloat16`, `float16`, or `auto`, that of the run.
            progress: show how far it has come.

        Raises:
            SemiEvolError: the run has no evolved model, or it would answer otherwise than in the run.
        """
        from semievol.predict.exporting import Form, export

        folder = RunFolder(self.path)
        with _reporting(folder, progress) as reporter:
            export(load_config(self.path), Path(path), Form(merged, dtype), reporter)
        return Path(path)

    def pseudo_labels(self) -> "pa.Table":
        """Every unlabeled row with its prompt, answer and confidence, whether it was kept, and why.

        Raises:
            ConfigError: the run has selected nothing yet.
            DataError: its data cannot be read any more.
        """
        import pyarrow as pa

        from semievol.data import load
        from semievol.stages.evaluate import last_fates, selections_of

        folder = RunFolder(self.path)
        selections = selections_of(folder)
        prompts = {row.id: row.prompt for row in load(load_config(self.path), folder.rows_path).unlabeled}
        table = pa.Table.from_pylist(list(last_fates(selections, PSEUDO_COLUMNS)))
        return table.add_column(1, "prompt", pa.array([prompts[id_] for id_ in table["id"].to_pylist()], pa.string()))


def run(
    config: ConfigLike,
    *,
    labeled: Any = None,
    unlabeled: Any = None,
    test: Any = None,
    until: str = "evaluate",
    redo: str | None = None,
    progress: bool = True,
) -> Run:
    """Runs all stages as `semievol run` does, report and model card included; the same call resumes.

    Args:
        config: a config, its file, a run folder, or the sections of one. `semievol.load(file, ["select.theta=0.3"])` is
            a config with options of its own.
        labeled: rows in place of `data.labeled`: a pandas or polars DataFrame, a `datasets.Dataset`, a `pyarrow.Table`,
            columns as a mapping of lists, or mappings, one for each row. They are kept in the run folder.
        unlabeled: the same in place of `data.unlabeled`. The object that is also `labeled` is one source: its rows
            without an answer are the unlabeled ones.
        test: the same in place of `data.test`.
        until: the last stage to run.
        redo: make this stage and the later ones anew.
        progress: show how far the run has come.

    Raises:
        SemiEvolError: see `semievol.errors`; everything finished is kept, and the same call goes on.
    """
    from semievol.forecast.check import check as look
    from semievol.forecast.check import show
    from semievol.report import finish
    from semievol.report.trackers import track
    from semievol.terminal import TextConsole

    resolved = _resolved(config)
    folder = RunFolder(resolved.output)
    folder.claim()
    with _reporting(folder, progress) as reporter:
        resolved = _with_rows(resolved, {"labeled": labeled, "unlabeled": unlabeled, "test": test}, _input(folder))
        checked = look(resolved, measure=False, folder=folder.rows_path)
        if progress:
            show(TextConsole(stderr=True), checked)
        result = pipeline.run(resolved, until=until, redo=redo, reporter=reporter, dataset=checked.dataset)
        finish(result.path, checked.dataset)
        for line in track(folder, resolved):
            reporter.say(line)
    return Run(result.path, result.weights, result.metrics)


def open_run(path: str | Path) -> Run:
    """What lies in a run folder.

    Raises:
        ConfigError: it is none.
    """
    load_config(path if isinstance(path, Path) else str(path))
    result = pipeline.result(RunFolder(path))
    return Run(result.path, result.weights, result.metrics)


def check(
    config: ConfigLike,
    *,
    labeled: Any = None,
    unlabeled: Any = None,
    test: Any = None,
    measure: bool = False,
) -> "Checked":
    """Looks at the data, says what a run will do, as `semievol check` prints it, and returns that; trains nothing.

    Args:
        config: see `run`, as for the other arguments.
        measure: load the model and time it for a few seconds.

    Raises:
        SemiEvolError: the run cannot be; says why.
    """
    from semievol.forecast.check import check as look
    from semievol.forecast.check import show
    from semievol.terminal import TextConsole

    with _scratch(config, {"labeled": labeled, "unlabeled": unlabeled, "test": test}) as resolved:
        checked = look(resolved, measure=measure)
    show(TextConsole(), checked)
    return checked


def plan(
    config: ConfigLike,
    *,
    labeled: Any = None,
    unlabeled: Any = None,
    test: Any = None,
    measure: bool = False,
) -> "Plan":
    """What a run will do: requests, tokens, steps, time, and dollars at a service. Arguments and errors as `check`."""
    from semievol.data import load
    from semievol.forecast.plan import make_plan

    with _scratch(config, {"labeled": labeled, "unlabeled": unlabeled, "test": test}) as resolved:
        return make_plan(resolved, load(resolved), measure=measure)


def compare(
    config: ConfigLike,
    *,
    labeled: Any = None,
    unlabeled: Any = None,
    test: Any = None,
    seeds: Sequence[int] = (),
    methods: Sequence[str] = (),
    out: str | Path = "runs/experiments",
) -> "Findings":
    """SemiEvol, SFT, RAG and others on the same rows, as `semievol compare` prints it.

    Args:
        config: see `run`, as for the other arguments.
        seeds: the config's own if it is empty.
        methods: only these rows of the table.
        out: where runs and results go.

    Raises:
        SemiEvolError: it cannot be, or was stopped; what is finished is kept, and the same call goes on.
    """
    from semievol.experiments.catalogue import COMPARE
    from semievol.experiments.experiment import run_experiment
    from semievol.experiments.measurements import require_own
    from semievol.experiments.options import Options
    from semievol.experiments.progress import grid_reporter_for_terminal
    from semievol.experiments.results import show

    resolved = _resolved(config)
    name = Path(config).stem if isinstance(config, str | Path) else Path(resolved.output).name
    folder = Path(out, "compare", name)
    require_own(folder)
    rows = {"labeled": labeled, "unlabeled": unlabeled, "test": test}
    resolved = _with_rows(resolved, rows, Path(out, INPUT, name))
    file = Path(out, INPUT, name, f"{name}.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dump(resolved), encoding="utf-8")
    options = Options(configs=(str(file),), seeds=tuple(seeds), methods=tuple(methods), out=Path(out))
    with reporting(RunFolder(folder).log_path, grid_reporter_for_terminal()) as reporter:
        findings = run_experiment(COMPARE, options, reporter, folder)
    show(findings, folder)
    return findings


def _resolved(config: ConfigLike) -> Config:
    if isinstance(config, Config):
        return config
    return build(config) if isinstance(config, Mapping) else load_config(config)


def _source(rows: Any, folder: Path) -> str | list[str]:
    """Texts as they are; other rows as a file in the folder."""
    if isinstance(rows, list | tuple) and all(isinstance(row, str) for row in rows):
        return list(rows)
    return str(save_rows(rows, folder, "rows"))


@contextmanager
def _scratch(config: ConfigLike, rows: Mapping[str, Any]) -> Iterator[Config]:
    """The config with rows that go when the block ends."""
    with tempfile.TemporaryDirectory(prefix="semievol-") as folder:
        yield _with_rows(_resolved(config), rows, Path(folder))


def _input(folder: RunFolder) -> Path | None:
    return folder.path / INPUT if isinstance(folder.path, Path) else None


def _with_rows(config: Config, rows: Mapping[str, Any], folder: Path | None) -> Config:
    """The config with those of its sources replaced that are in memory.

    With labeled rows in memory, a source that nobody has named is none: the default names a file.

    Raises:
        ConfigError: there is no folder on a disk to keep them in.
        DataError: see `save_rows`.
    """
    split_rows = {name: of_split for name, of_split in rows.items() if of_split is not None}
    if not split_rows:
        return config
    if folder is None:
        raise ConfigError(f"output is {config.output}: rows in memory are kept in a run folder on a disk")
    sources: dict[str, str | None] = {}
    for name, of_split in split_rows.items():
        same = next((other for other in sources if rows[other] is of_split), None)
        sources[name] = sources[same] if same else str(save_rows(of_split, folder.absolute(), name))
    if "labeled" in sources and "unlabeled" not in sources and "unlabeled" not in config.data.model_fields_set:
        sources["unlabeled"] = None
    return changed(config, {"data": sources})


def _reporting(folder: RunFolder, progress: bool) -> AbstractContextManager[Reporter]:
    return reporting(folder.log_path, reporter_for_terminal() if progress else Reporter())
