"""Run folders as older versions left them: a finished one, and one that was interrupted while it asked.

They are of `topics_config`. One of 0.1.0 has no sums in its JSON files, and no marks in its journals.
"""

import json
import shutil
from pathlib import Path

import pytest

from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.cli import main
from semievol.pipeline import run
from semievol.run_folder.parquet import read_rows

OLD = Path(__file__).parent / "old"
VERSIONS = sorted(path.name for path in OLD.iterdir())


@pytest.fixture
def expected(tmp_path: Path) -> list[dict]:
    run(topics_config(tmp_path, output=str(tmp_path / "new")))
    return read_rows(tmp_path / "new/select/pseudo_labels.parquet")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("state", ["finished", "half"])
def test_a_run_of_an_older_version_goes_on_and_asks_nothing_again(
    version: str, state: str, expected: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(OLD / version / state, tmp_path / "run")
    answered = {line["id"] for path in (tmp_path / "run").rglob("*.jsonl") for line in map(json.loads, path.open())}
    answered |= {
        f"{row['id']}/{candidate['collaborator']}"
        for path in (tmp_path / "run/collaborate").glob("*.parquet")
        for row in read_rows(path)
        for candidate in row["candidates"]
    }
    asked = []
    answer = FakeBackend._answer
    monkeypatch.setattr(FakeBackend, "_answer", lambda self, request: asked.append(request.id) or answer(self, request))
    run(topics_config(tmp_path))
    assert len(answered) > 80
    assert answered.isdisjoint(asked)
    assert bool(asked) == (state == "half")
    assert read_rows(tmp_path / "run/select/pseudo_labels.parquet") == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_of_an_older_version_is_verified_as_far_as_it_can_be(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(OLD / version / "finished", tmp_path / "run")
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert "of which no sum was kept" in capsys.readouterr().out
    path = tmp_path / "run/collaborate/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["verify", str(tmp_path / "run")]) == 1
    assert "collaborate/part-00000.parquet: damaged" in capsys.readouterr().out
