"""Files of a run that a disk, a full one or a person has damaged: one line that names the file, or no harm."""

import contextlib
import errno
import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from samples import run_results, topics_config
from semievol.backends.fake import FakeBackend
from semievol.cli import main
from semievol.config import dump
from semievol.costs.ledger import Ledger, read_ledger
from semievol.errors import RunFolderError, refused_by_system
from semievol.pipeline import run
from semievol.records import Request, Response, Sampling
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.journal import Journal
from semievol.run_folder.parquet import iter_rows, write_rows


@pytest.mark.parametrize("damage", ["cut", "a bit", "another run's", "gone"])
@pytest.mark.parametrize(
    ("place", "redo", "advice"),
    [
        ("collaborate/part-00001.parquet", "justify", "asks its shard again, for which a service is paid again"),
        ("justify/part-00000.parquet", "select", "asks its shard again, for which a service is paid again"),
        ("select/pseudo_labels.parquet", "evolve", "makes it again from the answers"),
        ("evaluate/base.parquet", None, "asks that model the test rows again, for which a service is paid again"),
        ("collaborate/done.json", None, "finishes the stage again from what lies beside it"),
        ("evaluate/metrics.json", None, "computes it again from the answers beside it"),
    ],
)
def test_a_damaged_file_is_named_whatever_is_done_next_and_verify_mends_it(
    place: str, redo: str | None, advice: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if (place == "collaborate/done.json" and damage == "another run's") or (damage == "gone" and "part" not in place):
        return  # then it is made again, see below
    config = topics_config(tmp_path)
    run(config)
    before = run_results(tmp_path / "run")
    path = tmp_path / "run" / place
    content = path.read_bytes()
    at = len(content) // 2
    if damage == "gone":
        path.unlink()
    elif damage == "another run's":
        run(topics_config(tmp_path, seed=1, output=str(tmp_path / "other")))
        path.write_bytes((tmp_path / "other" / place).read_bytes())
    else:
        path.write_bytes(
            content[:at] if damage == "cut" else content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        )
    if path.exists() and path.read_bytes() == content:
        return  # the two runs say the same here
    for again in {None, redo}:
        with pytest.raises(RunFolderError, match=f"{place}: damaged: ") as caught:
            run(config, redo=again)
        assert advice in str(caught.value)
        assert "\n" not in str(caught.value)
    assert main(["verify", str(tmp_path / "run")]) == 1
    assert f"{place}: damaged: " in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "run"), "--mend"]) == 0
    run(config, redo=redo)
    assert run_results(tmp_path / "run") == before
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert "the run is whole" in capsys.readouterr().out


def test_facts_of_a_run_that_a_disk_has_damaged_are_named_and_written_again(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    before = run_results(tmp_path / "run")
    path = tmp_path / "run/run.json"
    path.write_bytes(path.read_bytes().replace(b'"python": "3', b'"python": "2'))
    with pytest.raises(RunFolderError, match=r"run\.json: damaged: it is not what was written; after .* --mend"):
        run(config)
    assert main(["verify", str(tmp_path / "run"), "--mend"]) == 0
    run(config)
    assert run_results(tmp_path / "run") == before


def test_a_bit_of_the_sums_own_name_is_noticed_too(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    path = tmp_path / "run/collaborate/done.json"
    path.write_bytes(path.read_bytes().replace(b'"sha256"', b'"sha254"'))
    with pytest.raises(RunFolderError, match=r"collaborate/done\.json: damaged: it is not what was written"):
        run(config)


@pytest.mark.parametrize("stage", ["collaborate", "evolve", "evaluate"])
@pytest.mark.parametrize("until", ["evaluate", "collaborate"])
def test_a_key_that_is_damaged_is_written_again_for_the_same_settings(
    stage: str, until: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = topics_config(tmp_path)
    run(config, until=until)
    path = tmp_path / "run" / stage / "key.json"
    if not path.exists():
        return
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 2]) + content[at + 1 :])
        run(config, until=until)
        assert path.read_bytes() == content
    assert "key.json: was damaged" in caplog.text
    path.write_bytes(content[: len(content) // 2])
    run(config, until=until)
    path.unlink()
    run(config, until=until)
    assert path.read_bytes() == content


def test_a_key_that_is_gone_takes_no_results_of_other_settings_for_todays(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    (tmp_path / "run/select/key.json").unlink()
    with pytest.raises(RunFolderError, match=r"select/key\.json: damaged: it is gone; put it back from a copy"):
        run(topics_config(tmp_path, select={"theta": 0.1}))


def test_a_shard_that_comes_back_with_other_answers_has_the_later_stages_made_anew(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    before = run_results(tmp_path / "run")
    path = tmp_path / "run/collaborate/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert main(["verify", str(tmp_path / "run"), "--mend"]) == 0
    with pytest.MonkeyPatch.context() as patch:  # a service that says something else every time
        patch.setattr(FakeBackend, "_answer", _another_answer)
        run(config)
    after = run_results(tmp_path / "run")
    assert after["collaborate/part-00000.parquet"] != before["collaborate/part-00000.parquet"]
    assert after["justify/part-00000.parquet"] != before["justify/part-00000.parquet"]
    assert after["justify/part-00001.parquet"] == before["justify/part-00001.parquet"]
    assert after["collaborate/part-00001.parquet"] == before["collaborate/part-00001.parquet"]


def test_an_answer_to_another_question_is_asked_again(tmp_path: Path) -> None:
    def request(id_: str, text: str, seed: int = 0) -> Request:
        return Request(id_, ({"role": "user", "content": text},), "base", Sampling(seed=seed))

    asked = [request("a", "rain?"), request("b", "snow?"), request("c", "\ud800")]
    journal = Journal(tmp_path / "part-00000.jsonl")
    with journal.writer(asked) as write:
        for one in asked:
            write(Response(one.id, "yes", None, "stop", 1, 1))
    assert set(journal.read(asked)) == {"a", "b", "c"}
    assert set(journal.read([request("a", "hail?"), *asked[1:]])) == {"b", "c"}
    assert set(journal.read([request("a", "rain?", seed=1), *asked[1:]])) == {"b", "c"}
    assert set(journal.read()) == {"a", "b", "c"}


def test_a_shard_that_is_gone_is_named_by_what_reads_it(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    before = run_results(tmp_path / "run")
    (tmp_path / "run/justify/part-00000.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"justify/part-00000\.parquet: damaged: it is gone"):
        run(config, redo="select")
    (tmp_path / "run/justify/done.json").unlink()
    run(config, redo="select")
    assert run_results(tmp_path / "run") == before


def _another_answer(self: FakeBackend, request: Request) -> Response:
    return Response(
        request.id, "sport" if "rain" in request.messages[-1]["content"] else "money", (-0.1,), "stop", 9, 1
    )


def test_a_config_that_is_no_text_any_more_is_written_again(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config, until="warmup")
    path = tmp_path / "run/config.yaml"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"paper", b"p\xeeper"))
    run(config, until="warmup")
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["gone", "other"])
@pytest.mark.parametrize(
    ("stage", "redo", "sections"),
    [
        ("evolve", "evaluate", {}),
        ("warmup", "collaborate", {}),
        ("warmup", "evolve", {"evolve": {"start_from": "warm"}, "evaluate": {"models": ["base"]}}),
    ],
)
def test_weights_that_are_not_those_of_the_training_do_not_answer(
    stage: str, redo: str, sections: dict, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = topics_config(tmp_path, **sections)
    run(config)
    before = run_results(tmp_path / "run")
    path = tmp_path / "run" / stage / "adapter/votes.json"
    content = path.read_bytes()
    path.unlink()
    if damage == "other":
        path.write_bytes(content.replace(b"money", b"sport"))
    with pytest.raises(RunFolderError, match=f"{stage}/adapter/votes.json: damaged: it is .*--redo {stage} makes"):
        run(config, redo=redo)
    model = {"evolve": "evolved", "warmup": "warm"}[stage]
    assert main(["predict", str(tmp_path / "run"), "--input", str(tmp_path / "test.csv"), "--model", model]) == 1
    assert "damaged" in capsys.readouterr().err
    run(config, redo=stage)
    assert run_results(tmp_path / "run") == before


@pytest.mark.parametrize("is_other", [False, True])
@pytest.mark.parametrize("place", ["evaluate/metrics.json", "evaluate/done.json", "collaborate/done.json"])
def test_figures_that_are_gone_are_made_again_from_the_answers(place: str, is_other: bool, tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config)
    before = run_results(tmp_path / "run")
    (tmp_path / "run" / place).unlink()
    if is_other and place.endswith("done.json"):
        run(topics_config(tmp_path, seed=1, output=str(tmp_path / "other")))
        (tmp_path / "run" / place).write_bytes((tmp_path / "other" / place).read_bytes())
    run(config)
    assert run_results(tmp_path / "run") == before


def test_stored_rows_that_a_disk_has_damaged_are_made_again(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config, until="warmup")
    stored = {path: path.read_bytes() for path in (tmp_path / "run/rows").iterdir()}
    for path, content in stored.items():
        path.write_bytes(content.replace(b"rain", b"pain") if b"rain" in content else b"")
    run(config, until="warmup")
    assert {path: path.read_bytes() for path in (tmp_path / "run/rows").iterdir()} == stored


def test_a_damaged_line_of_a_journal_is_asked_again_and_the_others_stand(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "part-00000.jsonl")
    with journal.writer() as write:
        for id_ in ("a", "b", "c", "d"):
            write(Response(id_, "x", None, "stop", 1, 1))
    lines = journal.path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"logprobs"', b'"logbrobs"')
    lines[2] = lines[2][:20] + lines[2]  # a torn line that the next one was written behind
    journal.path.write_bytes(b"".join(lines))
    assert list(journal.read()) == ["a", "d"]


def test_any_bit_of_a_journal_may_turn_and_no_other_answer_comes_of_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "part-00000.jsonl")
    answers = {id_: Response(id_, 'a, "crc": 1}', (-0.25, -1.5), "stop", 12, 2) for id_ in ("a", "b")}
    with journal.writer() as write:
        for response in answers.values():
            write(response)
    whole = journal.path.read_bytes()
    assert journal.read() == answers
    for at in range(len(whole)):
        journal.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        assert journal.read().items() <= answers.items()


def test_a_journal_of_an_older_version_is_read(tmp_path: Path) -> None:
    old = b'{"id": "a", "text": "x", "logprobs": [-0.5], "finish": "stop", "prompt_tokens": 1, "completion_tokens": 1}'
    journal = Journal(tmp_path / "part-00000.jsonl")
    journal.path.write_bytes(old + b"\n")
    assert journal.read() == {"a": Response("a", "x", (-0.5,), "stop", 1, 1)}


def test_a_bit_that_turns_in_a_runs_answers_is_noticed(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("answer", pa.string())])
    rows = [{"id": f"row-{number}", "answer": str(number % 7)} for number in range(500)]
    path = tmp_path / "part-00000.parquet"
    write_rows(path, rows, schema)
    whole = path.read_bytes()
    data = whole[: -int.from_bytes(whole[-8:-4], "little") - 8]  # what comes before the footer
    noticed = 0
    for at in range(4, len(data), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            assert list(iter_rows(path, ["id", "answer"])) == rows
        except RunFolderError:
            noticed += 1
    assert noticed > len(data) / 7 * 0.8


def test_an_answer_that_is_written_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nearly(io.FileIO):
        """A file on a disk that takes seven bytes at a time."""

        def write(self, data) -> int:
            return super().write(data[:7])

    journal = Journal(tmp_path / "part-00000.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode, **_: Nearly(path, mode))
        with journal.writer() as write:
            write(Response("a", "ein längeres Wort", (-0.5,), "stop", 1, 1))
    assert journal.read()["a"].text == "ein längeres Wort"


def test_a_line_that_a_full_disk_took_a_part_of_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        """A file on a disk that is full after so many bytes, until somebody makes room."""

        room = 0

        def write(self, data) -> int:
            if not Full.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = super().write(data[: Full.room])
            Full.room -= written
            return written

    journal, ledger = Journal(tmp_path / "part-00000.jsonl"), Ledger(tmp_path / "costs.jsonl")
    entry = {"what": "answers", "weights": "base", "requests": 1, "input": 1, "output": 1, "dollars": 0.5}
    monkeypatch.setattr(Path, "open", lambda path, mode, **_: Full(path, mode.replace("b", "")))
    with journal.writer() as write:
        for room in (5000, 20, 0, 5000):
            Full.room = room
            with contextlib.suppress(OSError):
                write(Response(str(room), "rain", None, "stop", 1, 1))
    for room in (5000, 20, 5000):
        Full.room = room
        with contextlib.suppress(OSError):
            ledger.add(entry)
    monkeypatch.undo()
    assert journal.read().keys() == {"5000"}
    assert len(journal.path.read_bytes().splitlines()) == 2
    assert read_ledger(tmp_path / "costs.jsonl") == [entry, entry]


def test_answers_are_brought_to_the_disk_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    clock = iter([0.0, 0.5, 0.9, 1.5, 1.5, 1.6])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    journal = Journal(tmp_path / "part-00000.jsonl")
    with journal.writer() as write:
        for id_ in ("a", "b", "c", "d"):
            write(Response(id_, "x", None, "stop", 1, 1))
    size = journal.path.stat().st_size
    assert synced == [size * 3 // 4, size]


def test_a_torn_line_of_a_ledger_costs_no_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "costs.jsonl")
    entry = {"what": "answers", "weights": "base", "requests": 1, "input": 1, "output": 1, "dollars": 0.5}
    ledger.add(entry)
    with (tmp_path / "costs.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"what": "ans\n')
    ledger.add(entry)
    assert read_ledger(tmp_path / "costs.jsonl") == [entry, entry]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EFBIG, "File too large"), r"a file would be larger than is allowed here \(ulimit -f\)"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b: Read-only file system"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (
            RuntimeError("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing"),
            "disk is full",
        ),
        (RuntimeError("database or disk is full"), "the disk is full"),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(error: Exception, words: str) -> None:
    line = refused_by_system(error)
    assert line is not None
    assert line.endswith("; nothing finished is lost, the same command goes on")
    assert re.search(words, line)
    assert "\n" not in line


@pytest.mark.parametrize("error", [ValueError("28"), FileNotFoundError(errno.ENOENT, "No such file"), KeyError(28)])
def test_a_fault_of_the_program_is_none_of_the_systems(error: Exception) -> None:
    assert refused_by_system(error) is None


@pytest.mark.parametrize("limit", [200, 20_000])
def test_a_file_that_may_not_grow_ends_in_one_line_and_the_rest_goes_on(limit: int, tmp_path: Path) -> None:
    config = tmp_path / "topics.yaml"
    config.write_text(dump(topics_config(tmp_path)), encoding="utf-8")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "semievol.cli", "run", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited, env=os.environ)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
    assert "a file would be larger than is allowed here" in done.stderr.splitlines()[-1]
    assert main(["run", str(config)]) == 0
    run(topics_config(tmp_path, output=str(tmp_path / "other")))
    assert run_results(tmp_path / "run") == run_results(tmp_path / "other")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "topics.yaml"
    config.write_text(dump(topics_config(tmp_path)), encoding="utf-8")
    assert main(["run", str(config)]) == 0
    folders = [path for path in (tmp_path / "run").rglob("*") if path.is_dir()]
    try:
        for path in [*folders, tmp_path / "run"]:
            path.chmod(0o500)
        for path in (tmp_path / "run/logs").iterdir():
            path.chmod(0o400)
        capsys.readouterr()
        for command in (["run"], ["evaluate"], ["run", "--redo", "select"]):
            assert main([command[0], str(config), *command[1:]]) == 1
            assert capsys.readouterr().err.count("\n") == 1
        assert main(["status", str(config)]) == 0
    finally:
        for path in [tmp_path / "run", *folders]:
            path.chmod(0o700)


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "topics.yaml"
    config.write_text(dump(topics_config(tmp_path)), encoding="utf-8")
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    folder.log_path.parent.write_text("a file", encoding="utf-8")
    assert main(["run", str(config)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{folder.log_path}: cannot be written: " in said
    assert json.loads(folder.facts_path.read_text()) == {"sessions": []}
