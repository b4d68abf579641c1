import sys

import pytest

from semievol.data import load
from semievol.data.hub import open_hub
from semievol.errors import DataError, MissingExtraError

datasets = pytest.importorskip("datasets")

ROWS = [{"prompt": f"question {at}", "answer": "a", "extra": at} for at in range(20)]


@pytest.fixture
def hub(monkeypatch):
    """A hub with one data set, as `datasets.load_dataset` gives it; the calls it gets."""
    calls = []

    def load_dataset(name, config, *, split, streaming):
        calls.append((name, config, split, streaming))
        rows = datasets.Dataset.from_list(ROWS)
        if split is None:
            return datasets.DatasetDict({"train": rows, "test": rows} if config == "two" else {"train": rows})
        if split == "undeclared":
            return datasets.IterableDataset.from_generator(lambda: iter(ROWS))
        if split not in ("train", "train[:10%]"):
            raise ValueError(f"Unknown split \"{split}\". Should be one of ['train'].")
        return rows.to_iterable_dataset() if streaming else rows

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(
    ("source", "streaming", "call"),
    [
        ("hub:owner/name#config:train", False, ("owner/name", "config", "train", False)),
        ("hub:owner/name:train", True, ("owner/name", None, "train", True)),
        ("hub:owner/name:undeclared", True, ("owner/name", None, "undeclared", True)),
        ("hub:owner/name:train[:10%]", True, ("owner/name", None, "train[:10%]", False)),
        ("hub:owner/name", False, ("owner/name", None, None, False)),
    ],
)
def test_a_hub_source_is_read_with_the_wanted_columns_alone(hub, source, streaming, call):
    table = open_hub(source, streaming)
    assert table.columns == ("prompt", "answer", "extra")
    read = list(table.rows(["prompt", "answer"]))
    assert [dict(row.cells) for row in read] == [{"prompt": row["prompt"], "answer": "a"} for row in ROWS]
    assert [row.index for row in read] == list(range(20))
    assert hub == [call]


def test_a_hub_source_is_streamed_where_rows_are_limited(hub, make_config):
    limited = make_config(labeled="hub:owner/name:train", labeled_rows=5)
    whole = make_config(labeled="hub:owner/name:train")
    assert len(load(limited).labeled) == 5
    assert len(load(whole).labeled) == 20
    assert [streaming for *_, streaming in hub] == [True, False]
    assert {each.id for each in load(limited).labeled} < {each.id for each in load(whole).labeled}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub:owner/name#two", "has the splits train, test; name one, as in hub:owner/name#two:train"),
        ("hub:owner/name:dev", "hub:owner/name:dev: Unknown split"),
        ("hub:", "not of the form"),
    ],
)
def test_a_hub_source_that_cannot_be_read_says_why(hub, source, message):
    with pytest.raises(DataError, match=message):
        open_hub(source, streaming=False)


def test_without_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"semievol\[hub\]"):
        open_hub("hub:owner/name", streaming=False)


def test_a_local_folder_is_read_by_datasets_itself(tmp_path, write_csv, make_config, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text("prompt,answer\np,a\nq,b\n")
    for rows in ({}, {"labeled_rows": 1}):
        examples = load(make_config(labeled=f"hub:{folder}:train", **rows)).labeled
        assert len(examples) == rows.get("labeled_rows", 2)


@pytest.mark.parametrize("streaming", [False, True])
def test_classes_are_their_names_and_not_their_numbers(monkeypatch, streaming):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    given = rows.to_iterable_dataset() if streaming else rows
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: given)
    table = open_hub("hub:owner/name:train", streaming)
    assert [row.cells["label"] for row in table.rows(["label"])] == ["good", "bad", None]
