import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semievol.data.files import open_file
from semievol.errors import DataError

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


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet"])
def test_every_format_gives_the_same_rows_plain_and_gzipped(tmp_path, suffix, zipped):
    path = tmp_path / f"rows{suffix}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(contents(f"x{suffix}")) if zipped else contents(f"x{suffix}"))
    table = open_file(path, path.name)
    assert table.columns == ("prompt", "answer")
    assert [dict(row.cells) for row in table.rows(table.columns)] == ROWS
    assert [row.index for row in table.rows(["prompt"])] == [0, 1]
    assert read(path, "prompt") == [{"prompt": row["prompt"]} for row in ROWS]


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
        ("rows.csv", "a,b".encode("utf-16"), "rows.csv line 1: byte 1 of the line, 0xff, is not UTF-8"),
        ("rows.csv", b"a,a\n1,2\n", "the column 'a' stands there 2 times"),
        ("rows.jsonl", b'{"a": 1}\n{"a": \n', "rows.jsonl line 2: not JSON"),
        ("rows.jsonl", b'{"a": 1}\n[1]\n', "rows.jsonl line 2: list where an object"),
        ("rows.json", b'[{"a": 1},\n {"a" 2}]', "rows.json line 2: not JSON"),
        ("rows.json", b'{"a": 1}\n{"a": 2}\n', "JSON Lines files are called .jsonl"),
        ("rows.json", b'{"rows": []}', "a list of objects is expected"),
        ("rows.json", b'[{"a": 1}, 2]', "rows.json row 2: int where an object"),
        ("rows.parquet", b"no parquet at all", "rows.parquet: not a Parquet file"),
        ("rows.csv.gz", b"no gzip at all", "rows.csv.gz: cannot be read"),
        ("rows.csv.gz", gzip.compress(b"a,b\n" * 9999, mtime=0)[:40], "rows.csv.gz: cannot be read"),
        ("rows.tab", b"a\tb\n1\t2\n3\t4\n", "call it .tsv"),
        ("rows.xlsx", b"", r"rows.xlsx: unknown kind of file; known are .csv, .tsv, .tab"),
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
