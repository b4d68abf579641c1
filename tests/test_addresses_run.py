"""A whole run at an address: the same bytes as on a disk, resumed, made anew, and failed in the middle."""

import json
import pickle
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

import counting

pytest.importorskip("upath")

import semievol
from processes import soon
from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.cli import main
from semievol.config import Config, dump
from semievol.config.paths import path_of
from semievol.errors import MissingExtraError, RunFolderError
from semievol.experiments.options import Options
from semievol.records import Response
from semievol.run_folder import locks
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import on_disk, upload, weights_on_disk
from semievol.training.fake import FakeTrainer

RESULTS = (".parquet", "metrics.json", "votes.json", "key.json")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def address() -> str:
    return f"memory://bucket/{uuid.uuid4().hex}/run"


def results(output: str | Path) -> dict[str, bytes]:
    """The bytes of every result by its place in the run folder."""
    folder = RunFolder(str(output)).path
    files = [path for path in folder.rglob("*") if path.is_file() and str(path.name).endswith(RESULTS)]
    root = str(getattr(folder, "path", folder))
    return {str(getattr(path, "path", path)).removeprefix(root): path.read_bytes() for path in files}


def at(address: str, tmp_path: Path, **sections: object) -> Config:
    return topics_config(tmp_path, **{"output": address, **sections})


class Asked(FakeBackend):
    """Keeps the ids it was asked for; fails as told."""

    ids: Sequence[str] = ()
    dies_at: int | None = None
    failing: Sequence[str] = ()

    def _answer(self, request):
        if len(Asked.ids) == Asked.dies_at:
            Asked.dies_at = None
            raise KeyboardInterrupt
        Asked.ids = [*Asked.ids, request.id]
        if request.id in Asked.failing:
            return Response(request.id, "", None, "error", 0, 0, error="the service is busy")
        return super()._answer(request)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> type[Asked]:
    Asked.ids, Asked.dies_at, Asked.failing = [], None, ()
    return Asked


def test_a_run_gives_the_bytes_of_a_run_on_a_disk(address: str, tmp_path: Path) -> None:
    semievol.run(at(address, tmp_path, rounds=2))
    semievol.run(topics_config(tmp_path, rounds=2))
    assert results(address) == results(tmp_path / "run")
    assert any("round-02/select/pseudo_labels.parquet" in name for name in results(address))


def test_a_finished_run_asks_and_trains_nothing(address: str, tmp_path: Path, asked: type[Asked]) -> None:
    kinds = {"backend": {"kind": f"{__name__}:Asked"}, "training": {"kind": "counting:CountingTrainer"}}
    config = at(address, tmp_path, **kinds)
    semievol.run(config)
    before, trained = len(asked.ids), counting.trained.total()
    semievol.run(config)
    assert (len(asked.ids), counting.trained.total()) == (before, trained)


@pytest.mark.parametrize("moment", [0, 20, 70, 165])
def test_a_run_that_died_asks_nothing_twice_on_the_same_machine(
    moment: int, address: str, tmp_path: Path, asked: type[Asked]
) -> None:
    config = at(address, tmp_path, backend={"kind": f"{__name__}:Asked"})
    asked.dies_at = moment
    with pytest.raises(KeyboardInterrupt):
        semievol.run(config)
    semievol.run(config)
    assert len(asked.ids) == len(set(asked.ids))
    semievol.run(topics_config(tmp_path, backend={"kind": f"{__name__}:Asked"}))
    assert results(address) == results(tmp_path / "run")


def test_a_run_goes_on_from_another_machine(
    address: str, tmp_path: Path, asked: type[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = at(address, tmp_path, backend={"kind": f"{__name__}:Asked"})
    asked.dies_at = 100
    with pytest.raises(KeyboardInterrupt):
        semievol.run(config)
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "elsewhere"))
    semievol.run(config)
    assert len(asked.ids) == len(set(asked.ids))  # a writer that is left in order uploads its answers
    semievol.run(topics_config(tmp_path, backend={"kind": f"{__name__}:Asked"}))
    assert results(address) == results(tmp_path / "run")


def test_answers_that_another_machine_made_old_are_not_read(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RunFolder(address).stage("collaborate")
    with stage.shards.journal(0).writer() as write:
        write(Response("a", "old", None, "stop", 1, 1))
    assert stage.shards.journal(0).read().keys() == {"a"}
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "elsewhere"))
    stage.shards.journal(0).remove()
    with stage.shards.journal(0).writer():
        pass
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "cache"))
    assert stage.shards.journal(0).read() == {}
    assert stage.shards.begun() == {0}


def test_failures_stay_open_and_are_asked_again_anywhere(
    address: str, tmp_path: Path, asked: type[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = at(address, tmp_path, backend={"kind": f"{__name__}:Asked"})
    semievol.run(config, until="collaborate")
    some = [id_ for id_ in asked.ids if id_.endswith(("warm+0", "base+0", "warm+1", "base+1"))][:2]
    asked.ids, asked.failing = [], some
    semievol.run(config, redo="warmup")
    stage = RunFolder(address).stage("collaborate")
    assert stage.is_done
    assert stage.may_change
    assert len(list(stage.failures())) == 2
    asked.ids, asked.failing = [], ()
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "elsewhere"))
    semievol.run(config)
    assert set(some) <= set(asked.ids)
    assert len([id_ for id_ in asked.ids if id_.partition("/")[2].partition("+")[0] in ("warm", "base")]) <= 2 + 60
    assert not stage.may_change
    assert list(stage.failures()) == []
    semievol.run(topics_config(tmp_path, backend={"kind": f"{__name__}:Asked"}))
    mine, theirs = results(address), results(tmp_path / "run")
    assert {k: v for k, v in mine.items() if "parquet" in k} == {k: v for k, v in theirs.items() if "parquet" in k}


def test_redo_forgets_what_is_at_the_address_and_on_this_machine(address: str, tmp_path: Path) -> None:
    config = at(address, tmp_path)
    semievol.run(config)
    semievol.run(config.model_copy(update={"seed": 5}), redo="warmup")
    semievol.run(topics_config(tmp_path, seed=5))
    assert results(address) == results(tmp_path / "run")


def test_other_settings_are_refused(address: str, tmp_path: Path) -> None:
    semievol.run(at(address, tmp_path))
    with pytest.raises(RunFolderError, match=r"select.theta: was 0\.5, is now 0\.3"):
        semievol.run(at(address, tmp_path, select={"theta": 0.3}))


def test_every_command_takes_the_address(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(dump(at(address, tmp_path)), encoding="utf-8")
    assert main(["run", str(file)]) == 0
    assert "SemiEvol" in capsys.readouterr().out
    assert main(["status", address]) == 0
    assert "evolve" in capsys.readouterr().out
    assert main(["evaluate", str(file), "--redo", "evaluate"]) == 0
    (tmp_path / "new.csv").write_text("text\nrain snow wind storm cloud sunny frost thunder\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", address, "--input", str(tmp_path / "new.csv")]) == 0
    predicted = capsys.readouterr().out
    semievol.run(topics_config(tmp_path))
    assert main(["predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.csv")]) == 0
    assert capsys.readouterr().out == predicted
    folder = RunFolder(address)
    assert "<html" in folder.report_path.read_text(encoding="utf-8")
    assert "evolve/adapter" in folder.card_path.read_text(encoding="utf-8")
    assert next((folder.path / "logs").iterdir()).name.startswith("run-")
    assert folder.facts()["sessions"]


def test_a_folder_that_another_process_holds_is_refused_until_its_lock_is_stale(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = locks.AddressLock(path_of(address) / ".lock")
    lock.take()
    with pytest.raises(RunFolderError, match="is running here"):
        semievol.run(at(address, tmp_path))
    lock._done.set()  # it gives no sign of life any more
    lock._thread.join()
    monkeypatch.setattr(locks, "STALE", -1.0)
    with RunFolder(address).lock():
        pass


def test_a_process_whose_folder_was_taken_stops(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "STALE", 0.1)
    told: list[bool] = []
    folder = RunFolder(address)

    def work() -> None:
        with folder.lock(lambda: told.append(True)):
            other = {"host": "elsewhere", "pid": 1, "mark": "other", "time": 0}
            (folder.path / ".lock").write_text(json.dumps(other))
            assert soon(lambda: bool(told))

    with pytest.raises(RunFolderError, match="taken this run over"):
        work()
    assert json.loads((folder.path / ".lock").read_text())["mark"] == "other"


def test_what_is_sent_to_other_machines_still_works_there(address: str, tmp_path: Path) -> None:
    semievol.run(at(address, tmp_path), until="collaborate")
    stage = pickle.loads(pickle.dumps(RunFolder(address).stage("collaborate")))
    assert stage.is_done
    assert len(list(stage.shards.rows())) == 40


class Interrupted(FakeTrainer):
    """Leaves a file where it trains, and what it finds there; dies once."""

    found: Sequence[list[str]] = ()
    dies = True

    def train(self, job, *others):
        out = job.out
        Interrupted.found = [*Interrupted.found, sorted(path.name for path in out.glob("*"))]
        out.mkdir(parents=True, exist_ok=True)
        (out / f"checkpoint-{job.recipe.num_train_epochs}").touch()
        if Interrupted.dies:
            raise KeyboardInterrupt
        return super().train(job, *others)


def test_a_training_finds_what_it_left_on_this_machine_and_no_other_training_does(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = at(address, tmp_path, training={"kind": f"{__name__}:Interrupted", "num_train_epochs": 2})
    other = at(address, tmp_path, training={"kind": f"{__name__}:Interrupted", "num_train_epochs": 3})
    monkeypatch.setattr(Interrupted, "found", [])
    monkeypatch.setattr(Interrupted, "dies", True)
    for each, redo in ((config, None), (config, None), (other, "warmup"), (other, None)):
        with pytest.raises(KeyboardInterrupt):
            semievol.run(each, until="warmup", redo=redo)
    assert Interrupted.found == [[], ["checkpoint-2"], [], ["checkpoint-3"]]
    Interrupted.dies = False
    semievol.run(other, until="warmup")
    assert RunFolder(address).stage("warmup").is_done


def test_another_training_is_never_taken_for_this_one(address: str, tmp_path: Path) -> None:
    file = tmp_path / "votes.json"
    where = f"{address}/evolve/adapter"
    found = []
    for content in ("one", "two"):
        file.write_text(content)
        upload(file, path_of(where) / "votes.json")
        found.append(Path(weights_on_disk(where), "votes.json").read_text())
    assert found == ["one", "two"]
    assert weights_on_disk("ft:model") == "ft:model"
    assert not list(on_disk(path_of(where)).glob(".fetch-*"))


def test_a_file_that_fails_half_way_leaves_no_object(address: str) -> None:
    import pyarrow as pa

    from semievol.run_folder.parquet import write_tables

    def tables():
        yield pa.table({"a": [1]})
        raise ValueError("the engine has died")

    path = path_of(address) / "part-00000.parquet"
    with pytest.raises(ValueError, match="died"):
        write_tables(path, tables(), pa.schema([("a", pa.int64())]))
    assert not path.exists()


def test_an_experiment_at_an_address_is_refused() -> None:
    with pytest.raises(semievol.errors.ExperimentError, match="needs a folder on a disk"):
        Options(out=Path("s3://bucket/experiments"))


def test_addresses_of_unknown_kinds_are_refused() -> None:
    with pytest.raises(RunFolderError, match="zzz"):
        path_of("zzz://bucket/run")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "upath", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'semievol\[url\]'"):
        path_of(f"memory://{uuid.uuid4().hex}")
