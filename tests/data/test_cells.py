import datetime
from decimal import Decimal
from uuid import UUID

import pytest

from semievol.data.cells import options, text
from semievol.errors import DataError


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ('["a", "it\'s"]', ("a", "it's")),
        ("['a', \"it's\"]", ("a", "it's")),
        ("['a' \"it's\"\n 'c']", ("a", "it's", "c")),
        ("array(['a)', 'b'], dtype=object)", ("a)", "b")),
        (r"['a\n', 'b, c']", ("a\n", "b, c")),
        ("('a', 'b')", ("a", "b")),
        ("[1, 2.5]", ("1", "2.5")),
        ([1, 2.5], ("1", "2.5")),
        ('["", "b"]', ("", "b")),
    ],
)
def test_options_are_read_from_every_way_of_writing_a_list(cell, expected):
    assert options(cell) == expected


@pytest.mark.parametrize(
    "cell", ['[NaN, "One"]', "[nan, 'One']", "[None, 'One']", [None, "One"], [float("nan"), "One"]]
)
def test_an_option_that_pandas_lost_is_the_option_none(cell):
    assert options(cell) == ("None", "One")


@pytest.mark.parametrize(
    "cell",
    ["yes or no", "", None, 3, {"A": "x"}, "[a, b]", "['a', ['b']]", "['a''b']", "['a' ... 'b']", "[]", [["a"]],
     "[__import__('os').getcwd()]"],
)  # fmt: skip
def test_options_that_are_no_list_are_refused(cell):
    with pytest.raises(DataError, match="option"):
        options(cell)


def test_a_missing_text_is_empty_and_a_number_is_written_out():
    assert [text(each) for each in (None, float("nan"), 3, 2.5, True, " a ")] == ["", "", "3", "2.5", "True", " a "]


@pytest.mark.parametrize("cell", [["a"], b"a", "half \ud83d"])
def test_what_is_no_text_is_refused(cell):
    with pytest.raises(DataError):
        text(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (Decimal("12.50"), "12.50"),
        (Decimal("1E+3"), "1000"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 13, 30), "2024-05-01 13:30:00"),
        (datetime.time(13, 30), "13:30:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values_of_columns_are_the_text_that_a_person_would_write(cell, expected):
    assert text(cell) == expected


def test_bytes_are_no_text():
    with pytest.raises(DataError, match="is of type bytes, and text is expected"):
        text(b"abc")
