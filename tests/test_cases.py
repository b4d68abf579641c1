"""What tools of this kind have been reported for: small inputs, each with what a user would expect of it.

Responses and how they must be read are a table of their own, in tests/tasks/test_responses.py.
"""

import csv
import datetime
import decimal
import gzip
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import semievol
from semievol.config import Config, build, load
from semievol.data import Dataset
from semievol.data import load as load_data
from semievol.errors import ConfigError, DataError, SemiEvolError
from semievol.forecast.check import check
from semievol.forecast.needs import require_ready
from semievol.predict.answering import predict
from semievol.progress import Reporter
from semievol.report import finish

ROOMS = [("The room was quiet", "good"), ("The room was loud", "bad"), ("A kind host", "good"), ("A rude host", "bad")]
CASES: dict[str, Callable[[Path], None]] = {}


def case(*names: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Enters a case under its names."""

    def entered(function: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES.update(dict.fromkeys(names, function))
        return function

    return entered


def table(rows: Sequence[Sequence[Any]], *header: str, separator: str = ",") -> str:
    """The rows as CSV."""
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=separator, lineterminator="\n")
    writer.writerows([header, *rows])
    return sink.getvalue()


def texts(count: int, start: int = 0) -> str:
    """So many different prompts as CSV."""
    return table([[f"Text number {number}"] for number in range(start, start + count)], "text")


def config(labeled: str = "labeled.csv", **sections: Any) -> Config:
    """A run of the fake engine on files in this folder; `unlabeled.csv` is written if there is none."""
    if not Path("unlabeled.csv").exists():
        Path("unlabeled.csv").write_text(texts(8))
    raw: dict[str, Any] = {
        "output": "run",
        "data": {"labeled": labeled, "unlabeled": "unlabeled.csv", "columns": {"prompt": "text", "answer": "label"}},
        "task": {"kind": "label"},
        "retrieval": {"kind": "bm25"},
        "training": {"kind": "fake"},
        "backend": {"kind": "fake"},
    }
    for section, options in sections.items():
        raw[section] = {**raw[section], **options} if isinstance(raw.get(section), dict) else options
    return build(raw)


def data(labeled: str = "labeled.csv", **sections: Any) -> Dataset:
    """The rows of such a run."""
    return load_data(config(labeled, **sections))


def notes(labeled: str = "labeled.csv", **sections: Any) -> str:
    """All that `check` says about its data."""
    checked = check(config(labeled, **sections), measure=False)
    return "\n".join((*checked.report.warnings, *checked.plan.notes))


def labels(dataset: Dataset) -> Counter[str | None]:
    """How often each answer stands in the labeled rows."""
    return Counter(example.answer for example in dataset.labeled)


@case("01-tsv-bare-quotes")
def _(folder: Path) -> None:
    Path("labeled.tsv").write_text('text\tlabel\nOne\tgood\n"Two\tbad\nThree\tgood\nFour"\tbad\n')
    with pytest.raises(DataError, match=r"labeled.tsv line 3: .* set data.quotes to false"):
        data("labeled.tsv")
    assert labels(data("labeled.tsv", data={"quotes": False})) == {"good": 2, "bad": 2}


@case("02-csv-semicolon")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label", separator=";"))
    assert labels(data()) == {"good": 2, "bad": 2}
    assert labels(data(data={"separator": ";", "unlabeled": None})) == {"good": 2, "bad": 2}


@case("70-excel-sep-line")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text("sep=,\n" + table(ROOMS, "text", "label"))
    assert labels(data()) == {"good": 2, "bad": 2}


@case("05-csv-utf16le-nobom", "06-csv-cr-lines", "81-wrong-extension")
def _(folder: Path) -> None:
    plain = table([("Café quiet", "good"), ("Loud", "bad")], "text", "label")
    for content in (
        plain.encode("utf-16-le"),
        plain.replace("\n", "\r").encode(),
        gzip.compress(plain.encode()),
    ):
        Path("labeled.csv").write_bytes(content)
        assert [example.prompt for example in data().labeled] == ["Café quiet", "Loud"]


@case("07-int-vs-float-labels", "53-mixed-type-labels")
def _(folder: Path) -> None:
    Path("labeled.jsonl").write_text(
        '{"text": "a", "label": 1}\n{"text": "b", "label": "1"}\n{"text": "c", "label": 1.0}\n'
        '{"text": "d", "label": 0}\n'
    )
    assert labels(data("labeled.jsonl")) == {"1": 3, "0": 1}
    assert "'1.0' (1 row) in the answer columns are the one label '1'" in notes("labeled.jsonl")


@case("51-label-invisible")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table([*ROOMS, ("Fine", "good\u200b")], "text", "label"))
    assert labels(data()) == {"good": 3, "bad": 2}
    assert r"'good\u200b' (1 row)" in notes()


@case("10-labels-grade-star", "114-labels-superscript", "96-labels-differ-only-in-case")
def _(folder: Path) -> None:
    for one, other in (("A*", "A"), ("m²", "m2"), ("US", "us")):
        Path("labeled.csv").write_text(table([("a", one), ("b", other), ("c", one), ("d", "other")], "text", "label"))
        assert labels(data()) == {one: 2, other: 1, "other": 1}
    assert "'US' (2 rows) and 'us' (1 row) are 2 labels" in notes()


@case("95-nfd-vs-nfc-labels")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table([("a", "caf\u00e9"), ("b", "cafe\u0301"), ("c", "bar")], "text", "label"))
    assert labels(data()) == {"caf\u00e9": 2, "bar": 1}
    assert "are the one label 'café'" in notes()


@case("12-labels-minus-one")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table([("a", -1), ("b", 0), ("c", 1)], "text", "label"))
    dataset = data()
    for response in ("-1", "- 1", "a rating of -1", "−1"):
        assert dataset.task.parse(response, dataset.labeled[0]) == "-1"


def turns(dataset: Dataset) -> list[dict[str, str]]:
    """The chat of the first labeled row."""
    return [dict(turn) for turn in dataset.task.messages(dataset.labeled[0])]


@case("13-alpaca-system-history")
def _(folder: Path) -> None:
    rows = [
        {"instruction": "Now?", "input": "", "output": answer, "system": "Be brief.", "history": [["Before?", "Then."]]}
        for answer in ("yes", "no")
    ]
    Path("labeled.json").write_text(json.dumps(rows))
    Path("unlabeled.json").write_text(json.dumps([{**rows[0], "instruction": "Later?"}]))
    made = turns(data("labeled.json", data={"unlabeled": "unlabeled.json", "columns": {}, "layout": "alpaca"}))
    said = "\n".join(turn["content"] for turn in made)
    assert made[0]["role"] == "system"
    assert all(each in said for each in ("Be brief.", "Before?", "Then.", "Now?"))


@case("14-sharegpt-system-column")
def _(folder: Path) -> None:
    chats = [
        {"system": "Be brief.", "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
        for q, a in (("One?", "yes"), ("Two?", "no"))
    ]
    Path("labeled.json").write_text(json.dumps(chats))
    made = turns(data("labeled.json", data={"unlabeled": None, "columns": {}}, select={"enabled": False}))
    assert made[0]["role"] == "system"
    assert "Be brief." in made[0]["content"]


def chats(*middle: dict[str, Any], **names: str) -> Config:
    """Labeled rows of chats with these turns before the answer."""
    role, content = names.get("role", "role"), names.get("content", "content")
    rows = [
        {names.get("column", "messages"): [*middle, {role: names.get("said", "assistant"), content: answer}]}
        for answer in ("yes", "no")
    ]
    Path("labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return config("labeled.jsonl", data={"unlabeled": None, "columns": {}})


@case("15-conversations-role-content")
def _(folder: Path) -> None:
    asked = {"role": "user", "content": "Ready?"}
    assert "Ready?" in turns(load_data(chats(asked, column="conversations")))[-1]["content"]


@case("16-messages-developer-role")
def _(folder: Path) -> None:
    made = chats({"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Ready?"})
    assert turns(load_data(made))[0] == {"role": "system", "content": "Be brief."}


@case("116-role-names")
def _(folder: Path) -> None:
    made = chats({"role": "human", "content": "Ready?"}, said="bot")
    assert [turn["role"] for turn in turns(load_data(made))] == ["user"]


@case("17-messages-tool-turn")
def _(folder: Path) -> None:
    with pytest.raises(DataError, match=r"labeled.jsonl row 1.*tool"):
        load_data(chats({"role": "user", "content": "Ready?"}, {"role": "tool", "content": "42"}))


@case("18-messages-null-toolcall")
def _(folder: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f"}}]}
    with pytest.raises(DataError, match=r"labeled.jsonl row 1.*tool"):
        load_data(chats({"role": "user", "content": "Ready?"}, call))


@case("19-prompt-completion-json-in-csv", "20-prompt-completion-repr-in-csv", "21-messages-repr-in-csv")
def _(folder: Path) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ready, isn't it?"}]
    for written in (json.dumps, repr):
        rows = [(written(prompt), written([{"role": "assistant", "content": answer}])) for answer in ("yes", "no")]
        Path("labeled.csv").write_text(table(rows, "prompt", "completion"))
        made = turns(data(data={"unlabeled": None, "columns": {}}))
        assert [turn["role"] for turn in made] == ["system", "user"]
        assert "Ready, isn't it?" in made[1]["content"]
        rows = [(written([*prompt, {"role": "assistant", "content": answer}]),) for answer in ("yes", "no")]
        Path("labeled.csv").write_text(table(rows, "messages"))
        assert turns(data(data={"unlabeled": None, "columns": {}}))[0]["role"] == "system"


@case("22-column-typo-beside-alpaca")
def _(folder: Path) -> None:
    rows = [("Do", "", "x", text, label) for text, label in ROOMS]
    Path("labeled.csv").write_text(table(rows, "instruction", "input", "output", "text", "label"))
    with pytest.raises(DataError, match=r"no column 'lable'.* Did you mean 'label'\?"):
        data(data={"columns": {"prompt": "text", "answer": "lable"}})


@case("23-list-of-parts", "24-glob", "25-folder-of-shards")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label"))
    Path("shards").mkdir()
    for number in (1, 2, 10):
        Path(f"shards/part{number}.csv").write_text(texts(2, start=number * 10))
    listed = [f"shards/part{number}.csv" for number in (1, 2, 10)]
    for given in (listed, "shards/part*.csv", "shards"):
        found = data(data={"unlabeled": given}).unlabeled
        assert [example.prompt[-3:].strip() for example in found] == ["10", "11", "20", "21", "100", "101"]


@case("80-save-to-disk-folder", "78-classlabel-parquet")
def _(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    columns = {"text": [text for text, _ in ROOMS], "label": [int(label == "good") for _, label in ROOMS]}
    rows = datasets.Dataset.from_dict(columns, features=features)
    rows.save_to_disk("saved")
    rows.to_parquet("labeled.parquet")
    for given in ("saved", "labeled.parquet"):
        assert labels(data(given)) == {"good": 2, "bad": 2}


@case("45-zst")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label"))
    with pa.CompressedOutputStream("more.csv.zst", "zstd") as stream:
        stream.write(texts(5).encode())
    assert len(data(data={"unlabeled": "more.csv.zst"}).unlabeled) == 5


@case("46-xlsx")
def _(folder: Path) -> None:
    Path("labeled.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"labeled.xlsx: is no workbook that can be read"):
        data("labeled.xlsx")
    book = openpyxl.Workbook()
    for row in (("text", "label"), *ROOMS):
        book.worksheets[0].append(row)
    book.save("labeled.xlsx")
    assert labels(data("labeled.xlsx")) == {"good": 2, "bad": 2}


@case("26-tilde-output")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label"))
    for given in ("~/runs/one", "$HOME/runs/one"):
        file = Path("config.yaml")
        file.write_text(f"output: {given}\ndata: {{labeled: labeled.csv}}\n")
        assert load(file).output == str(Path.home() / "runs" / "one")


@case("27-yaml-duplicate-keys")
def _(folder: Path) -> None:
    Path("config.yaml").write_text("select: {theta: 0.5}\noutput: run\nselect: {enabled: true}\n")
    with pytest.raises(ConfigError, match=r"'select' stands twice, on lines 1 and 3"):
        load("config.yaml")


@case("28-yaml-yes-no", "29-yaml-int-labels")
def _(folder: Path) -> None:
    for given in ("yes, no", "0, 1", "+1, -1"):
        Path("config.yaml").write_text(f"task: {{kind: label, labels: [{given}]}}\n")
        assert load("config.yaml").task.labels == tuple(given.split(", "))


@case("31-predict-ids")
def _(folder: Path) -> None:
    rows = [(f"id-{number}", text, label) for number, (text, label) in enumerate(ROOMS)]
    Path("labeled.csv").write_text(table(rows, "key", "text", "label"))
    Path("unlabeled.csv").write_text(table([("u-1", "Anything"), ("u-2", "Else")], "key", "text"))
    made = config(data={"columns": {"prompt": "text", "answer": "label", "id": "key"}})
    semievol.run(made)
    Path("new.csv").write_text(table([("id-1", "New"), ("n-2", ""), ("n-3", "Newer")], "key", "text"))
    predict(made, "evolved", "new.csv", "answers.jsonl", Reporter())
    found = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [row["id"] for row in found] == ["id-1", "n-2", "n-3"]
    assert found[1]["answer"] is None
    assert "empty" in found[1]["error"]
    assert found[0]["answer"] in ("good", "bad")


def choice(dataset: Dataset) -> list[tuple[tuple[str, ...], str | None]]:
    """Options and answers of the labeled rows."""
    return [(example.options, example.answer) for example in dataset.labeled]


@case("32-options-dict", "34-hub-choices-struct", "94-abcd-columns")
def _(folder: Path) -> None:
    named = {"A": "one", "B": "two"}
    struct = {"label": ["A", "B"], "text": ["one", "two"]}
    for options in (named, struct):
        rows = [{"text": "Which?", "options": options, "label": letter} for letter in "AB"]
        Path("labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = data(
            "labeled.jsonl",
            task={"kind": "multiple_choice"},
            data={"unlabeled": None, "columns": {"prompt": "text", "answer": "label", "options": "options"}},
        )
        assert choice(made) == [(("one", "two"), "A"), (("one", "two"), "B")]
    Path("labeled.csv").write_text(table([("Which?", "one", "two", "A"), ("So?", "1", "2", "B")], *"qABl"))
    columns = {"prompt": "q", "answer": "l", "options": ["A", "B"]}
    made = data(task={"kind": "multiple_choice"}, data={"unlabeled": None, "columns": columns})
    assert choice(made) == [(("one", "two"), "A"), (("1", "2"), "B")]


@case("33-zero-based-index", "36-zero-based-no-zero-seen")
def _(folder: Path) -> None:
    rows = [{"text": f"Which {n}?", "options": list("wxyz"), "label": str(n)} for n in (1, 2, 2, 1)]
    Path("labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections = {
        "task": {"kind": "multiple_choice"},
        "data": {"unlabeled": None, "columns": {"prompt": "text", "answer": "label", "options": "options"}},
    }
    assert "data.answer_index" in notes("labeled.jsonl", **sections)
    sections["data"]["answer_index"] = 0
    assert [answer for _, answer in choice(data("labeled.jsonl", **sections))] == ["B", "C", "C", "B"]
    rows[0]["label"] = "0"
    Path("labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    del sections["data"]["answer_index"]
    with pytest.raises(DataError, match=r"data.answer_index"):
        data("labeled.jsonl", **sections)


@case("37-parquet-decimal", "119-date-answer-parquet")
def _(folder: Path) -> None:
    answers = {
        "number": [decimal.Decimal("12.50"), decimal.Decimal("3")],
        "free_text": [datetime.date(2024, 5, 1), datetime.date(2023, 1, 31)],
    }
    for kind, values in answers.items():
        pq.write_table(pa.table({"text": ["a", "b"], "label": values}), "labeled.parquet")
        found = data("labeled.parquet", task={"kind": kind})
        expected = ["12.5", "3"] if kind == "number" else ["2024-05-01", "2023-01-31"]
        assert [example.answer for example in found.labeled] == expected


@case("97-category-unhashable")
def _(folder: Path) -> None:
    rows = [{"text": text, "label": label, "cat": ["a", "b"]} for text, label in ROOMS]
    Path("labeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"labeled.jsonl row 1 .*the column 'cat': is of type list"):
        data("labeled.jsonl", data={"columns": {"prompt": "text", "answer": "label", "category": "cat"}})


@case("39-money-with-scale")
def _(folder: Path) -> None:
    written = {
        "$1.2M": "1200000",
        "$1.2B": "1200000000",
        "950k": "950000",
        "3.5 million": "3500000",
        "2bn": "2000000000",
        "3万": "30000",
    }
    Path("labeled.csv").write_text(table([(f"Case {n}", each) for n, each in enumerate(written)], "text", "label"))
    found = data(task={"kind": "number"})
    assert [example.answer for example in found.labeled] == list(written.values())
    assert [found.task.parse(each, found.labeled[0]) for each in written] == list(written.values())


@case("40-european-numbers")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table([("a", "12.000"), ("b", "7.250"), ("c", "1.234")], "text", "label"))
    assert "task.decimal_mark" in notes(task={"kind": "number"})
    found = data(task={"kind": "number", "decimal_mark": "comma"})
    assert [example.answer for example in found.labeled] == ["12000", "7250", "1234"]
    assert found.task.parse("1.234,56", found.labeled[0]) == "1234.56"
    assert found.task.parse("12,5", found.labeled[0]) == "12.5"


@case("41-one-file-blank-labels")
def _(folder: Path) -> None:
    rows = [(text, label if number < 6 else "") for number, (text, label) in enumerate(ROOMS * 3)]
    Path("all.csv").write_text(table([(f"{text} {n}", label) for n, (text, label) in enumerate(rows)], "text", "label"))
    found = data("all.csv", data={"unlabeled": "all.csv", "test": "all.csv", "test_rows": 2})
    assert len(found.labeled) == 4
    assert len(found.test) == 2
    assert len(found.unlabeled) == 6
    assert all(example.answer for example in (*found.labeled, *found.test))
    assert not {e.prompt for e in found.unlabeled} & {e.prompt for e in (*found.labeled, *found.test)}
    with pytest.raises(DataError, match=r"the answer is empty; name the source in data.unlabeled too"):
        data("all.csv", data={"unlabeled": None})
    with pytest.raises(DataError, match=r"the answer is empty; leave data.labeled_rows out"):
        data("all.csv", data={"unlabeled": "all.csv", "labeled_rows": 9})


@case("42-multi-label")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table([("a", "clean, quiet"), ("b", "clean"), ("c", "rude")], "text", "label"))
    assert "'clean, quiet' look like several labels in one cell" in notes()


@case("48-key-first-seen-late", "121-truth-column-typo", "122-truth-unknown-label")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label"))
    rows = [{"text": f"Text {n}"} for n in range(150)] + [{"text": "Last", "truth": "good"}]
    Path("unlabeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("test.csv").write_text(table([("New", "good"), ("Newer", "bad")], "text", "label"))
    sections: dict[str, Any] = {
        "data": {"unlabeled": "unlabeled.jsonl", "test": "test.csv"},
        "evaluate": {"unlabeled_answers": "truth"},
    }
    require_ready(config(**sections), data(**sections))
    sections["evaluate"]["unlabeled_answers"] = "trooth"
    with pytest.raises(SemiEvolError, match=r"no column 'trooth'.*Did you mean 'truth'"):
        require_ready(config(**sections), data(**sections))
    rows[-1]["truth"] = "splendid"
    Path("unlabeled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections["evaluate"]["unlabeled_answers"] = "truth"
    with pytest.raises(SemiEvolError, match=r"'splendid' is not one of the labels"):
        require_ready(config(**sections), data(**sections))


@case("56-unlabeled-1-row", "57-unlabeled-same-row")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label"))
    for number, prompts in enumerate((["Only"], ["Same"] * 6)):
        Path("unlabeled.csv").write_text(table([[each] for each in prompts], "text"))
        result = semievol.run(config(output=f"run-{number}"))
        finish(result.path)
        assert (result.path / "report.html").exists()
        assert (result.path / "README.md").exists()


@case("99-one-class-in-test", "112-same-text-two-labels")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table([*ROOMS, ("A kind host", "bad")], "text", "label"))
    Path("test.csv").write_text(table([("New", "good"), ("Newer", "good")], "text", "label"))
    found = notes(data={"test": "test.csv"})
    assert "all test rows have the answer 'good'" in found
    assert "1 labeled row has the prompt of another and a different answer" in found


@case("110-long-labels-cut")
def _(folder: Path) -> None:
    pytest.importorskip("transformers")
    from tiny import save_tiny_model

    model = save_tiny_model(folder / "model")
    rows = [(f"Text {n}", f"a label that is rather long, number {n % 2}") for n in range(6)]
    Path("labeled.csv").write_text(table(rows, "text", "label"))
    sections: dict[str, Any] = {
        "model": {"name": model, "dtype": "float32", "device": "cpu"},
        "backend": {"kind": "transformers"},
    }
    assert "6 of 6" in notes(collaborate={"max_tokens": 4}, **sections)
    assert "6 of 6" not in notes(**sections)


@case("120-moved-run-folder")
def _(folder: Path) -> None:
    Path("labeled.csv").write_text(table(ROOMS, "text", "label"))
    made = config()
    semievol.run(made)
    shutil.copytree("run", "kept")
    shutil.rmtree("run")
    semievol.run(config(seed=7))
    Path("new.csv").write_text(texts(3))
    made = config(output="kept")
    predict(made, "evolved", "new.csv", "answers.jsonl", Reporter())
    assert len(Path("answers.jsonl").read_text().splitlines()) == 3
    shutil.rmtree("run")
    predict(made, "evolved", "new.csv", "again.jsonl", Reporter())
    assert Path("again.jsonl").read_bytes() == Path("answers.jsonl").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_a_reported_case_gives_what_a_user_expects(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    CASES[name](tmp_path)
