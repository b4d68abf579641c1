import bz2
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semievol.data.delimited import Dialect
from semievol.data.files import open_file
from semievol.errors import DataError


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}

ROWS = [{"prompt": 'one, "two"\nthree', "answer": "A"}, {"prompt": "vier – fünf", "answer": "B"}]
CSV = 'prompt,answer\n"one, ""two""\nthree",A\nvier – fünf,B\n'


def read(path: Path, *columns: str) -> list[dict]:
    table = open_file(path, path.name)
    return [dict(row.cells) for row in table.rows(columns or table.columns)]


def contents(name: str) -> bytes:
    """The bytes of a file that holds ROWS."""
    if name.endswith(".parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(ROWS), sink)
        return sink.getvalue().to_pybytes()
    return {
        ".csv": CSV,
        ".tsv": CSV.replace("one,", "one;").replace(",", "\t").replace("one;", "one,"),
        ".tab": 'prompt\tanswer\nstring\td\nmeta\tclass\n\n"one, ""two""\nthree"\tA\nvier – fünf\tB\n',
        ".jsonl": "\n".join(json.dumps(row) for row in ROWS) + "\n\n",
        ".ndjson": "\n".join(json.dumps(row) for row in ROWS),
        ".json": json.dumps(ROWS),
    }[Path(name).suffix].encode()


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet"])
def test_every_format_gives_the_same_rows_plain_and_compressed(tmp_path, suffix, packed):
    path = tmp_path / f"rows{suffix}{packed}"
    path.write_bytes(PACKED[packed](contents(f"x{suffix}")))
    table = open_file(path, path.name)
    assert table.columns == ("prompt", "answer")
    assert [dict(row.cells) for row in table.rows(table.columns)] == ROWS
    assert [row.index for row in table.rows(["prompt"])] == [0, 1]
    assert read(path, "prompt") == [{"prompt": row["prompt"]} for row in ROWS]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_and_compressions_are_seen_whatever_the_name_says(tmp_path, suffix, packed, encoding):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(PACKED[packed](contents(path.name).decode().encode(encoding)))
    assert read(path) == ROWS


def test_lines_may_end_as_on_old_macs(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,answer\rone,A\rtwo,B\r")
    assert read(path) == [{"prompt": "one", "answer": "A"}, {"prompt": "two", "answer": "B"}]
    path.write_bytes("prompt,answer\rone,A\rtwo,B\r".encode("utf-16-le"))
    assert read(path) == [{"prompt": "one", "answer": "A"}, {"prompt": "two", "answer": "B"}]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("a;b\n1,5;2\n3;4\n", ("a", "b")),
        ("a\tb\n1\t2\n", ("a", "b")),
        ("a|b\n1|2\n", ("a", "b")),
        ("sep=,\na,b;c\n1,2\n", ("a", "b;c")),
        ("sep=;\na,b;c\n1;2\n", ("a,b", "c")),
        ("text; with a mark\nno mark\nnor here\n", ("text; with a mark",)),
        ("text\none; two\n", ("text",)),
        ("a,b;c\n1,2\n", ("a", "b;c")),
    ],
)
def test_the_separator_is_what_the_first_lines_agree_on(tmp_path, content, columns):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    assert open_file(path, path.name).columns == columns
    assert all(len(row) == len(columns) for row in read(path))


def test_a_separator_that_is_named_is_that(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a;b,c\n1;2,3\n")
    assert open_file(path, path.name, Dialect(separator=";")).columns == ("a", "b,c")
    (row,) = open_file(path, path.name, Dialect(separator=";")).rows(["a"])
    assert row.cells == {"a": "1"}


def test_lines_are_counted_from_the_top_of_the_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("sep=,\na,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"rows.csv row 2 \(line 4\): 1 cells under 2"):
        read(path)


def test_marks_in_a_table_of_tabs_do_not_swallow_rows(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text('a\tb\nx\t1\n"it broke\t2\ny\t3\nsaid "no"\t4\nz he said"\t5\n')
    with pytest.raises(DataError, match=r"rows.tsv line 3: .*set data.quotes to false"):
        read(path)
    path.write_text('a\tb\nx\t1\n"it broke\t2\ny\t3\nz he said"\t4\n')
    with pytest.raises(
        DataError, match=r"rows.tsv line 3: a cell that begins with a quotation mark goes on for 3 lines"
    ):
        read(path)
    found = [row.cells["a"] for row in open_file(path, path.name, Dialect(quotes=False)).rows(["a"])]
    assert found == ["x", '"it broke', "y", 'z he said"']
    assert len(list(open_file(path, path.name, Dialect(quotes=True)).rows(["a"]))) == 2
    path.write_text('a\tb\n"two\nlines"\t1\n')
    assert read(path) == [{"a": "two\nlines", "b": "1"}]


@pytest.mark.parametrize("suffix", [".arrow", ".feather"])
@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_files_and_streams_are_read(tmp_path, suffix, opened):
    path = tmp_path / f"rows{suffix}"
    table = pa.Table.from_pylist(ROWS * 1500)
    with pa.OSFile(str(path), "wb") as sink, opened(sink, table.schema) as writer:
        writer.write_table(table)
    assert read(path) == ROWS * 1500
    assert [row.index for row in open_file(path, path.name).rows([])] == list(range(3000))


def test_json_may_hold_its_rows_under_data(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": 1, "data": ROWS}))
    assert read(path) == ROWS


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\xef\xbb\xbf" + contents(path.name))
    assert read(path) == ROWS


def test_an_unnamed_index_column_and_blank_lines_do_no_harm(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(",prompt\r\n7,a\r\n\r\n8,b\r\n")
    assert read(path, "prompt") == [{"prompt": "a"}, {"prompt": "b"}]
    assert [(row.index, row.line) for row in open_file(path, "rows.csv").rows(["prompt"])] == [(0, 2), (1, 4)]


def test_a_cell_may_be_longer_than_the_csv_module_allows_by_itself(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt\n" + "x" * 200_000 + "\n")
    assert len(read(path)[0]["prompt"]) == 200_000


def test_a_key_that_the_first_json_object_lacks_is_a_column(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2, "b": 3}\n')
    assert open_file(path, "rows.jsonl").columns == ("a", "b")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"", "rows.csv: is empty"),
        ("rows.jsonl", b"\n", "rows.jsonl: is empty"),
        ("rows.json", b"[]", "rows.json: is empty"),
        ("rows.csv", b"a,b\n1,2\n3\n", r"rows.csv row 2 \(line 3\): 1 cells under 2 column names"),
        ("rows.csv", b"a,b\n1,2\n3,4,5\n", r"rows.csv row 2 \(line 3\): 3 cells under 2"),
        ("rows.csv", b'a,b\n1,2\n3,"4\n5,6\n', "rows.csv line 3: the record that starts here is malformed"),
        ("rows.csv", b"a,b\n1,2\n3,caf\xe9\n", "rows.csv line 3: byte 6 of the line, 0xe9, is not UTF-8"),
        ("rows.csv", "a,b\n".encode("utf-16") + b"\x00", "rows.csv line 2: not UTF-16, which the file seems to be in"),
        ("rows.csv", b"a,a\n1,2\n", "the column 'a' stands there 2 times"),
        ("rows.jsonl", b'{"a": 1}\n{"a": \n', "rows.jsonl line 2: not JSON"),
        ("rows.jsonl", b'{"a": 1}\n[1]\n', "rows.jsonl line 2: list where an object"),
        ("rows.json", b'[{"a": 1},\n {"a" 2}]', "rows.json line 2: not JSON"),
        ("rows.json", b'{"a": 1}\n{"a": 2}\n', "JSON Lines files are called .jsonl"),
        ("rows.json", b'{"rows": []}', "a list of objects is expected"),
        ("rows.json", b'[{"a": 1}, 2]', "rows.json row 2: int where an object"),
        ("rows.parquet", b"no parquet at all", "rows.parquet: not a Parquet file"),
        ("rows.csv.bz2", bz2.compress(b"a,b\n" * 9999)[:40], "rows.csv.bz2: cannot be read"),
        ("rows.csv.xz", lzma.compress(b"a,b\n" * 9999)[:60], "rows.csv.xz: cannot be read"),
        ("rows.csv.zst", zstd(b"a,b\n" * 9999)[:20], "rows.csv.zst: cannot be read"),
        ("rows.csv", b"PAR1\x00", "rows.csv: is a Parquet file; call it .parquet"),
        ("rows.csv", b"PK\x03\x04", "rows.csv: is a ZIP archive or an Excel workbook"),
        ("rows.jsonl", b'{"a": 1}\n' + b"[" * 100_000 + b"\n", "rows.jsonl line 2: not JSON: it is nested too deeply"),
        (
            "rows.jsonl",
            b'{"a": ' + b"7" * 5000 + b"}\n",
            "rows.jsonl line 1: not JSON: a number has thousands of digits",
        ),
        ("rows.json", b"[" * 100_000, "rows.json: not JSON: it is nested too deeply"),
        ("rows.arrow", b"no arrow at all", "rows.arrow: not an Arrow file"),
        ("rows.csv.gz", gzip.compress(b"a,b\n" * 9999, mtime=0)[:40], "rows.csv.gz: cannot be read"),
        ("rows.tab", b"a\tb\n1\t2\n3\t4\n", "call it .tsv"),
        ("rows.xlsx", b"", "rows.xlsx: is no workbook that can be read"),
        ("rows.xls", b"a,b\n1,2\n", "rows.xls: is no workbook that can be read"),
        ("rows.doc", b"", r"rows.doc: unknown kind of file; known are .csv, .tsv, .tab"),
    ],
)
def test_a_broken_file_says_what_is_wrong_and_where(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_damaged_parquet_file_is_a_data_error(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [str(each) for each in range(5000)]}), path, compression="zstd")
    damaged = bytearray(path.read_bytes())
    damaged[40:400] = b"\x00" * 360
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"rows\.parquet"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv.gz", b"prompt,answer\n" + b"a" * 3000, "line 2: more than 0 MB in one line"),
        ("rows.jsonl", b'{"prompt": "' + b"a" * 3000, "line 1: more than 0 MB in one line"),
        ("rows.json", b"[\n" + b"1,\n" * 3000, "more than 0 MB in one JSON text; make it JSON Lines"),
        ("rows.parquet.gz", b"a" * 3000, "unpacked, it has more than 0 GB; unpack it first"),
        ("rows.json", b"[\n\xff]", "line 2: byte 1 of the line, 0xff, is not UTF-8"),
        ("rows.csv", "/dev/zero", "it is no file, but a device, a pipe or a folder"),
        ("rows.jsonl", None, "it is no file, but a device, a pipe or a folder"),
    ],
)
def test_a_bomb_is_refused_before_it_fills_the_memory(
    name: str, content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semievol.data.streams.MOST_OF_A_LINE", 1000)
    monkeypatch.setattr("semievol.data.files.MOST_OF_A_TEXT", 1000)
    monkeypatch.setattr("semievol.data.columnar.MOST_UNPACKED", 1000)
    path = tmp_path / name
    if content is None:
        os.mkfifo(path)
    elif isinstance(content, str):
        path.symlink_to(content)
    else:
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=message):
        list(open_file(path, name).rows(["prompt"]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\xff", b"ok"], pa.binary()).view(pa.string()),
        pa.array([2**30, 1], pa.date32()),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_column_that_python_cannot_hold_is_a_data_error(column: pa.Array, suffix: str, tmp_path: Path) -> None:
    path, table = tmp_path / f"rows.{suffix}", pa.table({"prompt": column})
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(DataError, match="damaged near row 1"):
        list(open_file(path, path.name).rows(["prompt"]))


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_column_whose_name_is_no_text_is_a_data_error(suffix: str, tmp_path: Path) -> None:
    path, table = tmp_path / f"rows.{suffix}", pa.table({"prompt-of-mine": ["a"]})
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"prompt-of-mine", b"prompt-of-min\xff"))
    with pytest.raises(DataError, match=f"rows.{suffix}"):
        list(open_file(path, path.name).rows(["prompt"]))
