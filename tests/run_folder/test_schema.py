"""Columns out of the fields of records."""

import dataclasses
from dataclasses import dataclass

import pyarrow as pa
import pytest

from semievol.records import Candidate, Example, FinalAnswer, Message, PseudoLabel
from semievol.run_folder.schema import schema_of, table_of


def test_every_type_of_field_becomes_a_column() -> None:
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    assert schema_of(Example) == pa.schema(
        [
            ("id", pa.string()),
            ("prompt", pa.string()),
            ("answer", pa.string()),
            ("response", pa.string()),
            ("options", pa.list_(pa.string())),
            ("context", pa.list_(turn)),
            ("category", pa.string()),
        ]
    )
    columns = schema_of(PseudoLabel)
    assert (columns.field("agreement").type, columns.field("round").type) == (pa.float64(), pa.int64())
    assert (columns.field("origin").type, columns.field("kept").type) == (pa.string(), pa.bool_())
    assert columns.field("candidates").type.value_type.field("references").type == pa.list_(pa.string())


def test_the_columns_of_the_base_class_come_first() -> None:
    assert schema_of(PseudoLabel).names == [*schema_of(FinalAnswer).names, "kept", "reason", "round", "weight"]


def test_a_table_gives_back_what_the_records_hold() -> None:
    context = (Message(role="user", content="?"),)
    examples = [Example("a", "2 + 2", "4", options=("4", "5"), context=context), Example("b", "3 + 3")]
    rows = table_of(examples, Example).to_pylist()
    assert [
        Example(**{**row, "options": tuple(row["options"]), "context": tuple(row["context"])}) for row in rows
    ] == examples
    candidate = Candidate("warm+1", "4", None, 0.5, ("a", "b"))
    final = FinalAnswer("a", None, None, "none", 0.0, None, None, "4", "length", (candidate, candidate), None)
    (row,) = table_of([final], FinalAnswer).to_pylist()
    assert (row["answer"], row["justification_finish"]) == (None, "length")
    assert [Candidate(**{**c, "references": tuple(c["references"])}) for c in row["candidates"]] == [candidate] * 2


def test_a_column_that_is_there_is_taken_as_it_is() -> None:
    candidate = Candidate("warm+1", "4", None, 0.5, ("a", "b"))
    final = FinalAnswer("a", None, None, "none", 0.0, None, None, "4", "length", (candidate,), None)
    whole = table_of([final], FinalAnswer)
    bare = dataclasses.replace(final, candidates=())
    assert table_of([bare], FinalAnswer, candidates=whole["candidates"]).equals(whole)


def test_no_rows_are_a_table_with_the_columns() -> None:
    assert table_of([], PseudoLabel).schema == schema_of(PseudoLabel)


def test_a_field_that_no_column_can_hold_is_named() -> None:
    @dataclass
    class Odd:
        words: dict[str, int]

    with pytest.raises(TypeError, match=r"Odd\.words: a column cannot hold dict"):
        schema_of(Odd)
