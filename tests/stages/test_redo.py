"""`--redo`: what is made anew, and that nothing is lost before the new has begun."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.config import Config, build, dump
from semievol.config.paths import path_of
from semievol.errors import BudgetError, ConfigError, DataError, RunFolderError, Stopped, TrainingError
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.records import Response
from semievol.report.status import print_status
from semievol.run_folder.files import write_text
from semievol.run_folder.folder import RunFolder
from semievol.stages.redo import ASIDE, made_anew, settle
from semievol.training.fake import FakeTrainer
from semievol.training.folder import TrainingFolder
from semievol.training.hosted.record import Record
from semievol.training.job import Job


class Fails(FakeBackend):
    """Answers `alive` requests of this process, then is gone."""

    alive = 0

    def generate(self, requests: Any, finished: Any = (), stop: Any = lambda: False) -> Iterator[Response]:
        for response in super().generate(requests, finished, stop):
            if not Fails.alive:
                raise BudgetError("no dollars are left")
            Fails.alive -= 1
            yield response


class Diverges(FakeTrainer):
    """Makes its folder, and trains nothing."""

    def train(self, job: Job, progress: Any = None) -> Any:
        job.out.mkdir(parents=True)
        raise KeyboardInterrupt


def config_in(folder: Path) -> Config:
    return topics_config(folder, rounds=2, collaborate={"max_tokens": 16}, backend={"kind": f"{__name__}:Fails"})


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_in(tmp_path)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for copies."""
    folder = tmp_path_factory.mktemp("once")
    Fails.alive = -1
    return run(config_in(folder)).path


@pytest.fixture
def finished(config: Config, once: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of a finished run, the engine is gone since."""
    shutil.copytree(once, config.output)
    Path(config.output, "config.yaml").write_text(dump(config), encoding="utf-8")
    monkeypatch.setattr(Fails, "alive", 0)
    return files(Path(config.output))


def files(folder: Path) -> dict[str, bytes]:
    passing = {"run.json", ".lock"}  # and the stored rows, which every session makes anew
    every = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".arrow")
    found = (path for path in every if path.name not in passing)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("redo", "changes", "error"),
    [
        ("warmup", {"data": {"labeled": "gone.csv"}}, DataError),
        ("justify", {"collaborate": {"temperature": 0.5}}, RunFolderError),
        ("collaborate", {"retrieval": {"kind": "none"}}, ConfigError),
        ("collaborate", {"backend": {"kind": "none:None"}}, ConfigError),
        ("warmup", {"training": {"kind": "none:None"}}, ConfigError),
        ("warmup", {"training": {"kind": f"{__name__}:Diverges"}}, KeyboardInterrupt),
        ("collaborate", {}, BudgetError),
        ("evaluate", {}, BudgetError),
    ],
)
def test_a_redo_that_comes_to_nothing_leaves_everything_as_it_was(
    redo: str, changes: dict[str, Any], error: type[BaseException], config: Config, finished: dict[str, bytes]
) -> None:
    raw = config.model_dump(mode="json")
    changed = build({**raw, **{name: {**raw[name], **options} for name, options in changes.items()}})
    with pytest.raises(error):
        run(changed, redo=redo)
    assert files(Path(config.output)) == finished


def test_once_an_answer_is_there_the_old_ones_are_gone_and_the_redo_goes_on(
    config: Config, finished: dict[str, bytes]
) -> None:
    Fails.alive = 7
    with pytest.raises(BudgetError):
        run(config, redo="collaborate")
    folder = Path(config.output)
    assert not (folder / ASIDE).exists()
    assert not (folder / "justify").exists()
    assert RunFolder(folder).stage("collaborate").shards.progress() == (0, 7)
    before = {name: content for name, content in finished.items() if not name.endswith("done.json")}
    Fails.alive = -1
    run(config)
    assert {name: content for name, content in files(folder).items() if not name.endswith("done.json")} == before


def test_a_stop_before_the_first_answer_brings_the_old_ones_back_and_says_so(
    config: Config, finished: dict[str, bytes]
) -> None:
    class Impatient(Reporter):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def say(self, line: str) -> None:
            self.lines.append(line)

    reporter, Fails.alive = Impatient(), -1
    reporter.stopping = True
    with pytest.raises(Stopped):
        run(config, redo="justify", reporter=reporter)
    assert files(Path(config.output)) == finished
    (line,) = reporter.lines
    assert line.startswith("nothing was made anew; as they were before --redo: justify, select, evolve, ")
    assert "justify of round 2" in line


def test_a_redo_after_the_last_stage_of_the_run_is_refused(config: Config, finished: dict[str, bytes]) -> None:
    with pytest.raises(ConfigError, match="--redo select: the run is to end after justify"):
        run(config, until="justify", redo="select")
    assert files(Path(config.output)) == finished


def test_advice_that_loses_answers_says_so(config: Config, finished: dict[str, bytes]) -> None:
    changed = config.model_copy(update={"collaborate": config.collaborate.model_copy(update={"temperature": 0.5})})
    with pytest.raises(
        RunFolderError, match=r"--redo collaborate .*removes what they hold, answers that were paid for"
    ):
        run(changed)


class Killed(BaseException):
    """The process has ended."""


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int, memory: type | None) -> list[str]:
    """From its `moment`-th operation on, the process does nothing more to a disk or an address; what it did."""
    done: list[str] = []

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            if len(done) >= moment:
                raise Killed
            done.append(name)
            return real(*arguments, **named)

        return operation

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
        monkeypatch.setattr(os, name, dying(name, getattr(os, name)))
    if memory is not None:
        for name in ("cp_file", "_rm", "put_file"):
            monkeypatch.setattr(memory, name, dying(name, getattr(memory, name)))
    return done


@pytest.fixture(params=["disk", "address"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "cache"))
    if request.param == "disk":
        return tmp_path / "run"
    pytest.importorskip("upath")
    return path_of(f"memory://bucket/{uuid4().hex}/run")


OLD = {
    f"{stage}/{name}": f"old {stage} {name}"
    for stage in ("justify", "evolve", "round-02/justify")
    for name in ("key.json", "done.json")
} | {"evolve/adapter/weights": "old weights"}


def texts(folder: Path) -> dict[str, str]:
    return {
        str(path).removeprefix(str(folder)).lstrip("/"): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("ends", ["refused", "begun", "finished"])
def test_a_redo_that_is_killed_at_any_moment_leaves_the_old_or_the_new(
    ends: str, place: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 0
    while True:
        folder = RunFolder(place.joinpath(str(moment)))
        for name, text in {**OLD, "warmup/key.json": "before"}.items():
            write_text(folder.path.joinpath(*name.split("/")), text)
        with monkeypatch.context() as patch:
            done = kill_at(patch, moment, None if isinstance(place, Path) else type(place.fs))
            try:
                with made_anew(folder, "justify", config, Reporter()):
                    write_text(folder.stage("justify").path / "key.json", "new")
                    if ends != "refused":
                        write_text(folder.stage("justify").path / "done.json", "new")
                    if ends != "finished":
                        raise RunFolderError("no")
            except (Killed, RunFolderError):
                pass
        begun = texts(folder.path).get("justify/done.json") == "new"
        settle(folder)
        new = {"justify/key.json": "new", "justify/done.json": "new"}
        assert texts(folder.path) == {"warmup/key.json": "before", **(new if begun else OLD)}, (moment, done[-3:])
        assert not (folder.path / ASIDE).exists()
        if len(done) < moment:
            break
        moment += 1
    assert moment > 12


def test_what_was_set_aside_goes_when_the_first_new_stage_is_done(config: Config, finished: dict[str, bytes]) -> None:
    folder = RunFolder(config.output)

    class Looks(Reporter):
        def __init__(self) -> None:
            self.seen: dict[str, bool] = {}

        def _begin(self, title: str, total: int, unit: str, done: int) -> None:
            self.seen.setdefault(title.partition(" ")[0], (folder.path / ASIDE / "evolve").exists())

    looks, Fails.alive = Looks(), -1
    run(config, until="evolve", redo="collaborate", reporter=looks)
    assert looks.seen["collaborate"]
    assert not looks.seen["justify"]
    assert not looks.seen["evolve"]


def test_status_says_what_waits_to_be_replaced(
    config: Config, finished: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(config.output)
    (folder / ASIDE).mkdir()
    (folder / "evolve").rename(folder / ASIDE / "evolve")
    print_status(folder)
    assert "before-redo/ has what --redo makes anew: evolve; they are removed once" in capsys.readouterr().out
    run(config)
    assert files(folder) == finished


@pytest.mark.parametrize(("job", "stands"), [(None, "old"), ("ftjob-2", "new")])
def test_a_training_at_a_service_has_begun_when_there_is_a_job(
    job: str | None, stands: str, tmp_path: Path, config: Config
) -> None:
    folder = RunFolder(tmp_path / "run")
    for name in ("key.json", "done.json"):
        write_text(folder.stage("warmup").path / name, "old")
    with suppress(TrainingError), made_anew(folder, "warmup", config, Reporter()):
        new = folder.stage("warmup")
        write_text(new.path / "key.json", "new")
        write_text(TrainingFolder(new).training_path / "rows.jsonl", "{}")
        Record(TrainingFolder(new).training_path, "semievol-1.jsonl", job=job).save()
        raise TrainingError("the service takes no file with this key")
    assert (folder.stage("warmup").path / "key.json").read_text() == stands
