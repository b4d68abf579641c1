"""Files, answers and configs that nobody would write, drawn by hypothesis: each is read, or refused in words of ours.

A case is `read` or `refused`. It is `raw` if anything but a `SemiEvolError` comes of it, or words that no terminal can
show; hypothesis then looks for the smallest case that does the same.
"""

import bz2
import gzip
import io
import json
import logging
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from faults.tally import Tally
from semievol.config import Config, TaskConfig, build, dump, load
from semievol.data import load as load_data
from semievol.errors import SemiEvolError
from semievol.records import Example
from semievol.tasks import Task, open_task

WRONG = ("raw",)

NASTY = (
    "", " ", "a", "yes", "no", '"', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\x00", "\ufeff", "\u2028", "\x1b[2J",
    "NaN", "null", "1e999", "-0", "[1]", "{}", "[[", "]]", "['a' \"b\"]", "array(['a'], dtype=object)", "(", "$",
    "[" * 50, "[" * 5000, "é", "\U0001f600", "<|im_end|>", "=1+1", "\\", "\\u0000", "\\ud800", "9" * 400, "9" * 5000,
    '{"role": "user", "content": "q"}', "../../etc", "A", "2", "\\N{BULLET}", "Answer:", "#### 5", "<<1+1=2>>", "1/0",
    "٣", "½", "1e400", "-" * 40, "None", "true", "2020-99-99", "!!float x", "&a [*a]", "<<: *a", "~", "*a",
)  # fmt: skip
texts = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=12), st.lists(st.sampled_from(NASTY), max_size=4).map("".join)
)
numbers = st.one_of(
    st.integers(-3, 9), st.sampled_from([10**30, 10**400, -(10**19)]), st.floats(allow_nan=True, allow_infinity=True)
)
values = st.recursive(
    st.one_of(texts, numbers, st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "type", "text", "from", "value", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
turns = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.one_of(texts, values)}
    ),
    max_size=3,
)
NAMES = ("prompt", "answer", "options", "id", "messages", "conversations", "completion", "instruction", "output")
right_rows = st.fixed_dictionaries(
    {"prompt": st.text("abcdefgh", min_size=4, max_size=8), "answer": st.sampled_from(["yes", "no"])},
    optional={"options": st.just(["x", "y"]), "id": texts, "messages": turns, "completion": st.just("yes")},
)
rows = st.lists(
    st.one_of(right_rows, right_rows, st.dictionaries(st.sampled_from(NAMES), values, max_size=4)), max_size=4
)
changes = st.lists(
    st.tuples(
        st.integers(0, 2**20), st.sampled_from(["flip", "cut", "put", "end", "drop"]), st.binary(max_size=4), texts
    ),
    max_size=3,
)


def changed(content: bytes, made_changes: list[tuple[int, str, bytes, str]]) -> bytes:
    """Bytes with some of them flipped, cut out or put in."""
    for at, how, raw, text in made_changes:
        at = at % (len(content) + 1)
        rest = content[at:]
        if how == "flip" and rest:
            rest = bytes([rest[0] ^ 1 << len(raw)]) + rest[1:]
        elif how == "cut":
            rest = rest[len(text) + 1 :]
        elif how == "put":
            rest = text.encode("utf-8", "surrogatepass") + rest
        elif how == "drop":
            rest = raw + rest
        elif how == "end":
            rest = b""
        content = content[:at] + rest
    return content


def as_delimited(table: list[dict[str, Any]], mark: str) -> bytes:
    names = list(dict.fromkeys(name for row in table for name in row)) or ["prompt", "answer"]
    lines = [names, *([_cell(row.get(name, "")) for name in names] for row in table)]
    quoted = (mark.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines)
    return "\r\n".join(quoted).encode("utf-8", "replace")


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def as_json(table: list[dict[str, Any]]) -> bytes:
    return json.dumps(table, ensure_ascii=False).encode("utf-8", "surrogatepass")


def as_json_lines(table: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") for row in table)


def as_tab(table: list[dict[str, Any]]) -> bytes:
    head, _, rest = as_delimited(table, "\t").partition(b"\r\n")
    return head + b"\r\nstring\tdiscrete\r\nmeta\tclass\r\n" + rest


columns = st.sampled_from(
    [
        pa.array(["p1", "p2"]),
        pa.array([b"\xff", b"ok"], pa.binary()).view(pa.string())
        if hasattr(pa.Array, "view")
        else pa.array(["p", "q"]),
        pa.array([b"\xff", b"ok"], pa.binary()),
        pa.array([1, 2**62], pa.timestamp("ms")),
        pa.array([1, 10**18], pa.timestamp("ns")),
        pa.array([2**30, -(2**30)], pa.date32()),
        pa.array([2**62, 1], pa.duration("ns")),
        pa.array([1, 2]).cast(pa.decimal128(25, 2)),
        pa.array(["yes", "no"]).dictionary_encode(),
        pa.array([["a", None], None]),
        pa.array([[{"role": "user", "content": "q"}], [{"role": "assistant", "content": "yes"}]]),
        pa.array([{"A": "x", "B": None}, None]),
        pa.array([float("nan"), float("inf")]),
        pa.nulls(2),
    ]
)
usual = {"prompt": pa.array(["p8", "p9"]), "answer": pa.array(["yes", "no"])}
odd_columns = st.dictionaries(st.sampled_from(NAMES), columns, max_size=3)
tables = st.one_of(odd_columns.map(lambda odd: pa.table(usual | odd)), odd_columns.map(pa.table))


def as_parquet(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, coerce_timestamps=None, version="2.6")
    return stream.getvalue()


def as_arrow(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


@cache
def _workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["prompt", "answer"])
    book.active.append(["rain?", "yes"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


FORMATS: Mapping[str, st.SearchStrategy[bytes]] = {
    "csv": rows.map(lambda table: as_delimited(table, ",")),
    "tsv": rows.map(lambda table: as_delimited(table, "\t")),
    "tab": rows.map(as_tab),
    "jsonl": rows.map(as_json_lines),
    "json": st.one_of(rows.map(as_json), values.map(lambda value: as_json([value] if value else [{}]))),
    "parquet": tables.map(as_parquet),
    "arrow": tables.map(as_arrow),
    "xlsx": st.builds(_workbook),
    "csv.gz": rows.map(lambda table: gzip.compress(as_delimited(table, ","))),
    "jsonl.bz2": rows.map(lambda table: bz2.compress(as_json_lines(table))),
}

data_options = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["label", "multiple_choice", "number", "free_text", "labels"]),
        "columns": st.sampled_from([{}, {}, {"options": "options"}, {"id": "id"}, {"prompt": "{prompt} {id}"}]),
        "role": st.sampled_from(["labeled", "unlabeled"]),
        "layout": st.sampled_from(["auto", "auto", "columns", "messages", "prompt_completion", "alpaca", "sharegpt"]),
    }
)


def read_file(path: Path, options: Mapping[str, Any]) -> None:
    """Loads a file as labeled or as unlabeled rows, beside a right one."""
    right = path.with_name("right.jsonl")
    if not right.exists():
        answers = {"answer": "yes", "options": ["x", "y"], "id": "i"}
        right.write_text("".join(json.dumps({"prompt": f"p{at}", **answers}) + "\n" for at in range(2)))
    other = "unlabeled" if options["role"] == "labeled" else "labeled"
    labels = {"labels": ["yes", "no"]} if options["kind"] in ("label", "labels") else {}
    config = build(
        {
            "data": {
                options["role"]: str(path),
                other: str(right),
                "columns": options["columns"],
                "layout": options["layout"],
            },
            "task": {"kind": options["kind"], **labels},
        }
    )
    load_data(config)


TASKS: Mapping[str, tuple[TaskConfig, tuple[str, ...]]] = {
    "multiple_choice": (TaskConfig(kind="multiple_choice"), ("A", "B")),
    "label": (TaskConfig(kind="label"), ("yes", "no", "Answer: x")),
    "labels": (TaskConfig(kind="labels"), ("quiet, clean", "none")),
    "number": (TaskConfig(kind="number"), ("6", "1/3")),
    "number, worked": (TaskConfig(kind="number", answer_pattern="#### (.+)"), ("so 5\n#### 5",)),
    "free_text": (TaskConfig(kind="free_text"), ("x",)),
    "free_text, fuzzy": (TaskConfig(kind="free_text", match="fuzzy"), ("x y",)),
    "free_text, token_f1": (TaskConfig(kind="free_text", match="token_f1"), ("x y",)),
}


@cache
def task_of(name: str) -> tuple[Task, Example]:
    config, answers = TASKS[name]
    options = ("iron", "zinc") if config.kind == "multiple_choice" else ()
    examples = [Example(id=f"r{at}", prompt="Which?", answer=one, options=options) for at, one in enumerate(answers)]
    task = open_task(config, examples)
    return task, task.normalize(examples[0])


def parse_answer(name: str, text: str) -> None:
    """Reads an answer from a response, compares it, and reads it again from the response that it would train."""
    task, example = task_of(name)
    answer = task.parse(text, example)
    if answer is not None:
        assert isinstance(answer, str)
        assert task.equal(answer, answer) in (True, False)
        task.equal(answer, example.answer or "")


sections = st.sampled_from(list(Config.model_fields))
nested = st.dictionaries(
    st.one_of(sections, texts), st.one_of(values, st.dictionaries(texts, values, max_size=3)), max_size=3
)


@cache
def _options() -> tuple[tuple[str, str], ...]:
    fields = Config.model_fields.items()
    inner = {name: getattr(field.annotation, "model_fields", {}) for name, field in fields}
    return tuple((section, option) for section, options in inner.items() for option in options)


option_texts = st.builds(
    lambda place, value: f"{place[0]}.{place[1]}={value}",
    st.sampled_from(_options()),
    st.one_of(texts, values.map(repr)),
)


def read_config(path: Path, text: str, overrides: list[str]) -> None:
    """Loads a config and writes it down again."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    dump(load(str(path), overrides))


def _tried(tally: Tally, case: Callable[[], None]) -> None:
    try:
        case()
        tally.counts["read"] += 1
    except SemiEvolError as error:
        str(error).encode()
        tally.counts["refused"] += 1


def _run(tally: Tally, cases: int, number: int, test: Callable[..., None], *strategies: Any) -> Tally:
    options = settings(
        max_examples=cases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        seed(number)(options(given(*strategies)(test)))()
    except BaseException as error:
        tally.add("raw", f"{type(error).__name__}: {error} {getattr(error, '__notes__', '')}"[:600])
    finally:
        logging.disable(before)
    return tally


def try_reader(suffix: str, folder: Path, cases: int, number: int = 0) -> Tally:
    """What came of so many files of a kind."""
    tally, path = Tally(), folder / f"rows.{suffix}"

    def test(content: bytes, made_changes: Any, options: Mapping[str, Any]) -> None:
        path.write_bytes(changed(content, made_changes))
        _tried(tally, lambda: read_file(path, options))

    return _run(tally, cases, number, test, FORMATS[suffix], changes, data_options)


def try_parser(name: str, cases: int, number: int = 0) -> Tally:
    """What came of so many responses to a task."""
    tally = Tally()

    def test(text: str) -> None:
        _tried(tally, lambda: parse_answer(name, text))

    return _run(tally, cases, number, test, texts)


def try_configs(folder: Path, cases: int, number: int = 0) -> Tally:
    """What came of so many configs, half of them a right one with changed characters."""
    tally, path = Tally(), folder / "any.yaml"
    right = dump(build({"preset": "trusted", "data": {"labeled": "a.csv", "unlabeled": "b.csv"}}))

    def test(content: Mapping[str, Any], made_changes: Any, overrides: list[str], is_near: bool) -> None:
        text = changed(right.encode(), made_changes).decode("utf-8", "surrogateescape") if is_near else _yaml(content)
        _tried(tally, lambda: read_config(path, text, overrides))

    return _run(tally, cases, number, test, nested, changes, st.lists(option_texts, max_size=2), st.booleans())


def _yaml(content: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in content.items())
