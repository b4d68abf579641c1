from pathlib import Path

import pytest

from semievol.data.sources import resolve
from semievol.errors import DataError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOME_FOLDER", raising=False)


def test_of_a_list_the_first_that_exists_is_taken():
    Path("b.csv").write_text("x")
    Path("c.csv").write_text("x")
    assert resolve("data.labeled", ("a.csv", "b.csv", "c.csv")).name == "b.csv"


def test_variables_and_the_home_folder_are_expanded(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("x")
    monkeypatch.setenv("SOME_FOLDER", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = str(tmp_path / "a.csv")
    assert [resolve("x", each).name for each in ("$SOME_FOLDER/a.csv", "${SOME_FOLDER}/a.csv", "~/a.csv")] == [
        expected
    ] * 3


def test_a_variable_that_is_not_set_means_that_the_source_does_not_exist():
    Path("b.csv").write_text("x")
    assert resolve("data.labeled", ("$SOME_FOLDER/a.csv", "b.csv")).name == "b.csv"
    with pytest.raises(DataError, match=r"data.labeled: no such file: \$SOME_FOLDER/a.csv \(SOME_FOLDER is not set"):
        resolve("data.labeled", "$SOME_FOLDER/a.csv")


def test_where_none_exists_all_that_were_tried_are_named():
    with pytest.raises(DataError, match=r"a.csv; .*\$SOME_FOLDER/b.csv"):
        resolve("data.labeled", ("a.csv", "$SOME_FOLDER/b.csv"))


def test_a_missing_file_names_the_one_that_was_meant():
    Path("labeled.csv").write_text("x")
    with pytest.raises(DataError, match=r"lableed.csv \(there is labeled.csv\)"):
        resolve("data.labeled", "lableed.csv")


def test_hub_and_package_sources_count_as_existing():
    assert resolve("x", ("hub:a/b#c:train", "a.csv")).name == "hub:a/b#c:train"
    assert resolve("x", ("a.csv", "pypi://a==1/b.csv")).name == "pypi://a==1/b.csv"


def test_two_ways_to_name_a_file_are_one_source(tmp_path):
    Path("a.csv").write_text("x")
    assert resolve("x", "a.csv").identity == resolve("x", str(tmp_path / "a.csv")).identity


def test_a_folder_is_no_source(tmp_path):
    with pytest.raises(DataError):
        resolve("x", str(tmp_path)).open()
