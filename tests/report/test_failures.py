"""Requests that fail: recorded with their reason, asked again by the next run, and nothing else is."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failing import ASKED, BREAKING, FAILING
from samples import run_results, topics_config
from semievol.cli import main
from semievol.config import Config, dump
from semievol.pipeline import run
from semievol.report.failures import failure_lines
from semievol.run_folder.folder import RunFolder


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    for told in (ASKED, FAILING, BREAKING):
        told.clear()
    yield
    FAILING.clear()


def config(folder: Path, **sections: Any) -> Config:
    folder.mkdir(exist_ok=True)
    return topics_config(folder, backend={"kind": "failing:FailingBackend"}, **sections)


def fail(*ids: str, permanent: bool = False) -> None:
    FAILING.clear()
    FAILING.update(dict.fromkeys(ids, permanent))


SOME = ("unlabeled-1/warm+0", "unlabeled-1/base+1", "unlabeled-20/warm+0", "unlabeled-39/base+0")
"""Some collaborators' requests of all shards but one; two of them ask M_warm with the plain prompt."""


@pytest.fixture
def crew() -> dict[str, Any]:
    pairs = [("base", 0), ("base", 1), ("warm", 0), ("warm", 1)]
    return {"collaborators": [{"weights": name, "examples": k} for name, k in pairs]}


def test_a_run_goes_on_past_failed_requests_and_says_how_many_and_why(tmp_path: Path, crew: dict[str, Any]) -> None:
    fail(*SOME)
    result = run(config(tmp_path, collaborate=crew))
    assert result.metrics is not None
    assert failure_lines(RunFolder(result.path)) == [
        "collaborate: 4 requests failed: 4 times: N: overloaded",
        "The same command asks again for 4 of them; later stages follow where that changes them.",
    ]


def test_the_next_run_asks_for_what_failed_and_ends_as_if_nothing_had(tmp_path: Path, crew: dict[str, Any]) -> None:
    run(config(tmp_path / "undisturbed", collaborate=crew, rounds=2))
    undisturbed = Counter(ASKED)
    ASKED.clear()
    fail(*SOME)
    made = config(tmp_path / "disturbed", collaborate=crew, rounds=2)
    run(made)
    fail()
    run(made)
    assert run_results(tmp_path / "disturbed" / "run") == run_results(tmp_path / "undisturbed" / "run")
    assert failure_lines(RunFolder(made.output)) == []
    assert all(ASKED[id_] == undisturbed[id_] for id_ in SOME)


def test_nothing_that_was_answered_is_asked_again_where_its_question_has_not_changed(
    tmp_path: Path, crew: dict[str, Any]
) -> None:
    fail(*SOME)
    made = config(tmp_path, collaborate=crew)
    run(made)
    before = Counter(ASKED)
    fail()
    run(made)
    again = ASKED - before
    rows = {id_.partition("/")[0] for id_ in SOME}
    of_rows = {id_ for id_ in again if id_.partition("/")[0] in rows}
    evolved = {id_ for id_ in again if id_.endswith("/evolved")}
    assert set(again) == of_rows | evolved  # the evolved model is another, if the selection is
    assert not any(id_.endswith(("/base", "/warm")) for id_ in again)


def test_a_question_that_has_changed_is_asked_again_with_what_was_missing(tmp_path: Path, crew: dict[str, Any]) -> None:
    whole = config(tmp_path / "undisturbed", collaborate=crew)
    run(whole, until="justify")
    rows = RunFolder(whole.output).stage("collaborate").shards.rows()
    answers = {row["id"]: [each["answer"] for each in row["candidates"]] for row in rows}
    torn = [id_ for id_, said in answers.items() if said[3] not in (None, *said[:3]) and any(said[:3])]
    assert torn
    fail(*(f"{id_}/warm+1" for id_ in torn))
    made = config(tmp_path / "disturbed", collaborate=crew)
    run(made, until="justify")
    fail()
    ASKED.clear()
    run(made, until="justify")
    assert all(ASKED[f"{id_}/justify"] == 1 for id_ in torn)


def test_a_question_that_changed_while_its_shard_was_under_way_is_asked_again(
    tmp_path: Path, crew: dict[str, Any]
) -> None:
    run(config(tmp_path / "undisturbed", collaborate=crew))
    ids = [row["id"] for row in RunFolder(tmp_path / "undisturbed" / "run").stage("collaborate").shards.rows()]
    fail(*(f"{id_}/{who}" for id_ in ids for who in ("base+1", "warm+1")))
    made = config(tmp_path / "disturbed", collaborate=crew)
    ASKED.clear()
    BREAKING.update(f"{id_}/score" for id_ in ids)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    under_way = {id_ for id_ in ASKED if id_.endswith("/justify")}
    assert under_way
    fail()
    ASKED.clear()
    run(made)
    assert under_way <= set(ASKED)
    assert run_results(tmp_path / "disturbed" / "run") == run_results(tmp_path / "undisturbed" / "run")


def test_a_run_whose_failed_requests_fail_again_changes_nothing(tmp_path: Path, crew: dict[str, Any]) -> None:
    fail(*SOME)
    made = config(tmp_path, collaborate=crew)
    run(made)
    before, bytes_before = Counter(ASKED), run_results(tmp_path / "run")
    trained = (tmp_path / "run/evolve/adapter/votes.json").stat().st_mtime_ns
    run(made)
    assert before == ASKED
    assert run_results(tmp_path / "run") == bytes_before
    assert (tmp_path / "run/evolve/adapter/votes.json").stat().st_mtime_ns == trained


@pytest.mark.parametrize("stage", ["justify", "evaluate"])
def test_requests_of_every_stage_are_asked_again(stage: str, tmp_path: Path) -> None:
    run(config(tmp_path / "undisturbed"))
    kinds = {"justify": ("justify", "score"), "evaluate": ("base", "evolved")}[stage]
    ids = sorted(id_ for id_ in ASKED if id_.rpartition("/")[2] in kinds)[::5]
    assert len(ids) > 3
    fail(*ids)
    made = config(tmp_path / "disturbed")
    run(made)
    assert len(list(RunFolder(made.output).stage(stage).failures())) == len(ids)
    fail()
    run(made)
    assert run_results(tmp_path / "disturbed" / "run") == run_results(tmp_path / "undisturbed" / "run")


def test_a_request_that_would_fail_again_is_not_asked_again(tmp_path: Path, crew: dict[str, Any]) -> None:
    fail(*SOME, permanent=True)
    made = config(tmp_path, collaborate=crew)
    run(made)
    before = Counter(ASKED)
    fail()
    run(made)
    assert before == ASKED
    assert failure_lines(RunFolder(made.output)) == [
        "collaborate: 4 requests failed: 4 times: prompt of N tokens is too long",
        "They would fail again, and are not asked again.",
    ]
    assert not list((tmp_path / "run" / "collaborate").glob("*.jsonl"))


def test_another_setting_is_refused_even_where_requests_have_failed(tmp_path: Path, crew: dict[str, Any]) -> None:
    from semievol.errors import RunFolderError

    fail(*SOME)
    run(config(tmp_path, collaborate=crew))
    fail()
    with pytest.raises(RunFolderError, match=r"select\.theta: was 0\.5, is now 0\.3"):
        run(config(tmp_path, collaborate=crew, select={"theta": 0.3}))


@pytest.mark.parametrize("moment", range(1, 31, 3))
def test_a_second_run_that_is_broken_off_anywhere_loses_nothing(
    moment: int, tmp_path: Path, crew: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(tmp_path / "undisturbed", collaborate=crew))
    fail(*SOME)
    made = config(tmp_path / "disturbed", collaborate=crew)
    run(made)
    fail()
    writes = 0
    replace = os.replace

    def breaks(self: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes >= moment:
            raise KeyboardInterrupt
        replace(self, target)
        return target

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", breaks)
        with contextlib.suppress(KeyboardInterrupt):
            run(made)
    run(made)
    assert run_results(tmp_path / "disturbed" / "run") == run_results(tmp_path / "undisturbed" / "run")


def test_status_and_the_end_of_a_run_tell_of_failed_requests(
    tmp_path: Path, crew: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fail(*SOME)
    path = tmp_path / "config.yaml"
    path.write_text(dump(config(tmp_path, collaborate=crew)), encoding="utf-8")
    assert main(["run", str(path)]) == 0
    assert "4 requests failed: 4 times: N: overloaded" in capsys.readouterr().err
    assert main(["status", str(path)]) == 0
    assert "The same command asks again for 4 of them" in " ".join(capsys.readouterr().out.split())
    why = json.loads((tmp_path / "run/collaborate/part-00000.failed.json").read_text())
    assert why["unlabeled-1/warm+0"] == {"reason": "503: overloaded", "permanent": False}
