from pathlib import Path

import pytest

from semievol.data.sources import resolve
from semievol.errors import DataError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOME_FOLDER", raising=False)


def written(*names, text="x\n1\n"):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def names(option, given):
    return [
        str(Path(part).relative_to(Path.cwd())) if Path(part).is_absolute() else part for part in parts(option, given)
    ]


def parts(option, given):
    return resolve(option, given).parts


def test_a_list_of_files_is_all_of_them_in_its_order():
    written("b.csv", "c.csv")
    assert parts("data.labeled", ("c.csv", "b.csv")) == ("c.csv", "b.csv")
    with pytest.raises(DataError, match=r"data.labeled: no such file: a.csv .*; b.csv is there"):
        resolve("data.labeled", ("a.csv", "b.csv"))


def test_a_pattern_and_a_folder_are_their_files_in_natural_order(tmp_path):
    written("s/part10.csv", "s/part2.csv", "s/notes.md", "s/.part0.csv")
    for given in ("s/part*.csv", "s", str(tmp_path / "s" / "part*.csv")):
        assert names("data.unlabeled", given) == ["s/part2.csv", "s/part10.csv"]
    with pytest.raises(DataError, match=r"no such file: s/\*.jsonl"):
        resolve("data.unlabeled", "s/*.jsonl")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file():
    written("rows[1].csv", "rows1.csv")
    assert parts("x", "rows[1].csv") == ("rows[1].csv",)


def test_a_folder_of_several_kinds_or_of_none_is_refused():
    written("s/a.csv", "s/b.jsonl", "empty/notes.md")
    with pytest.raises(DataError, match=r"x: files of several kinds, .csv, .jsonl"):
        resolve("x", "s")
    with pytest.raises(DataError, match=r"x: empty is a folder that holds no table"):
        resolve("x", "empty")


def test_variables_and_the_home_folder_are_expanded(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("x")
    monkeypatch.setenv("SOME_FOLDER", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = str(tmp_path / "a.csv")
    assert [resolve("x", each).name for each in ("$SOME_FOLDER/a.csv", "${SOME_FOLDER}/a.csv", "~/a.csv")] == [
        expected
    ] * 3


def test_a_variable_that_is_not_set_means_that_the_source_does_not_exist():
    assert resolve("data.labeled", ("$SOME_FOLDER/a.csv", "hub:a/b")).parts == ("hub:a/b",)
    with pytest.raises(DataError, match=r"data.labeled: no such file: \$SOME_FOLDER/a.csv \(SOME_FOLDER is not set"):
        resolve("data.labeled", "$SOME_FOLDER/a.csv")


def test_where_none_exists_all_that_were_tried_are_named():
    with pytest.raises(DataError, match=r"a.csv \(neither in .* nor beside the config\); .*\$SOME_FOLDER/b.csv"):
        resolve("data.labeled", ("a.csv", "$SOME_FOLDER/b.csv"))


def test_a_missing_file_names_the_one_that_was_meant():
    Path("labeled.csv").write_text("x")
    with pytest.raises(DataError, match=r"lableed.csv \(there is labeled.csv\)"):
        resolve("data.labeled", "lableed.csv")


def test_what_is_elsewhere_is_taken_where_none_of_the_files_is_there():
    assert parts("x", ("hub:a/b#c:train", "a.csv")) == ("hub:a/b#c:train",)
    assert parts("x", ("a.csv", "pypi://a==1/b.csv")) == ("pypi://a==1/b.csv",)
    written("a.csv")
    assert parts("x", ("hub:a/b#c:train", "a.csv")) == ("a.csv",)
    assert parts("x", ("hub:a/b:one", "hub:a/b:two")) == ("hub:a/b:one", "hub:a/b:two")


def test_two_ways_to_name_a_file_are_one_source(tmp_path):
    Path("a.csv").write_text("x")
    assert resolve("x", "a.csv").identities == resolve("x", str(tmp_path / "a.csv")).identities


def test_parts_are_one_table_whose_rows_know_their_files():
    written("a.csv", text="x\n1\n2\n")
    written("b.csv", text="y,x\n,3\n")
    table = resolve("x", ("a.csv", "b.csv")).open()
    found = list(table.rows(["x"]))
    assert table.columns == ("x", "y")
    assert [(row.index, row.cells["x"]) for row in found] == [(0, "1"), (1, "2"), (2, "3")]
    assert [table.place(row) for row in found] == [
        "a.csv row 1 (line 2)",
        "a.csv row 2 (line 3)",
        "b.csv row 1 (line 2)",
    ]
    with pytest.raises(DataError, match=r"a.csv: no column 'y' \(data.columns.id\)"):
        table.require("y", "data.columns.id")


def test_a_late_column_of_a_part_is_found():
    written("a.jsonl", text='{"x": 1}\n' * 200 + '{"x": 1, "z": 2}\n')
    written("b.jsonl", text='{"x": 1, "z": 2}\n')
    table = resolve("x", ("a.jsonl", "b.jsonl")).open()
    table.require("z", "data.columns.id")
    assert table.every_column() == ("x", "z")


@pytest.mark.parametrize("shards", [1, 3])
def test_what_datasets_saved_is_read_in_its_order(tmp_path, shards):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_dict(
        {"text": [str(n) for n in range(30)], "label": [0, 1, -1] * 10}, features=features
    )
    rows.save_to_disk(tmp_path / "saved", num_shards=shards)
    table = resolve("x", "saved").open()
    found = list(table.rows(["text", "label"]))
    assert [row.cells["text"] for row in found] == [str(n) for n in range(30)]
    assert [row.cells["label"] for row in found[:3]] == ["no", "yes", None]
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "both")
    with pytest.raises(DataError, match=r"both holds the splits train, test; name one, as in both/train"):
        resolve("x", "both")
    assert len(list(resolve("x", "both/test").open().rows(["text"]))) == 30
