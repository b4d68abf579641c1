"""Sheets of workbooks as sources."""

import datetime
import sys
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from semievol.data.sources import resolve
from semievol.data.table import Row
from semievol.errors import DataError, MissingExtraError

pytest.importorskip("python_calamine")

TICKETS: list[list[Any]] = [
    ["id", "text", None, "label"],
    [7, "It fails.", "a note", "access"],
    [],
    [8.5, None, 3, "x"],
]


def save(path: Path, **sheets: list[list[Any]]) -> Path:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def read(source: str) -> list[Row]:
    table = resolve("data.labeled", source).open()
    return list(table.rows(table.columns))


def test_the_first_row_names_the_columns_and_blank_rows_are_passed_over(tmp_path: Path) -> None:
    path = save(tmp_path / "tickets.xlsx", March=TICKETS, Empty=[])
    assert [(row.cells, row.line) for row in read(str(path))] == [
        ({"id": 7, "text": "It fails.", "label": "access"}, 2),
        ({"id": 8.5, "text": None, "label": "x"}, 4),
    ]


def test_cells_are_what_they_are(tmp_path: Path) -> None:
    noon, day = datetime.datetime(2026, 1, 2, 12, 30), datetime.date(2026, 1, 2)
    path = save(tmp_path / "cells.xlsx", One=[["a", "b", "c", "d", "e"], ["007", True, noon, day, -3]])
    assert list(read(str(path))[0].cells.values()) == ["007", True, noon, day, -3]


def test_a_sheet_is_named_behind_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "tickets.xlsx", March=TICKETS, April=[["id", "text"], [1, "Thanks."]])
    assert read(f"{path}#April")[0].cells == {"id": 1, "text": "Thanks."}
    with pytest.raises(DataError, match=r"has the sheets 'March', 'April'; name one, as in tickets.xlsx#March"):
        read(str(path))
    with pytest.raises(DataError, match="no sheet 'May'; there are 'March', 'April'"):
        read(f"{path}#May")


def test_a_file_whose_name_looks_like_a_sheets_is_that_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xlsx#b.xlsx", One=[["id"], [1]])
    with pytest.raises(DataError, match="no such file"):
        resolve("data.labeled", str(tmp_path / "a.xlsx#b"))
    assert path.exists()


@pytest.mark.parametrize("rows", [[], [[None, None], ["a", "b"]]])
def test_a_sheet_without_names_of_columns_is_refused(tmp_path: Path, rows: list[list[Any]]) -> None:
    with pytest.raises(DataError, match=r"is empty|row 1 is blank"):
        read(str(save(tmp_path / "none.xlsx", One=rows)))


def test_two_columns_of_one_name_are_refused_where_they_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "twice.xlsx", One=[["a", "b", "a"], [1, 2, 3]])
    with pytest.raises(DataError, match="'a' stands there 2 times"):
        read(str(path))


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "tickets.xlsx", March=TICKETS)
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'semievol\[excel\]'"):
        read(str(path))
