"""A sheet of a workbook: Excel's `.xlsx`, `.xlsm`, `.xlsb` and `.xls`, and `.ods`, read by calamine."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from semievol.data.table import Row, Table, require_once
from semievol.errors import DataError, MissingExtraError, first_line

KINDS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_SHEET = re.compile(rf"(.+(?:{'|'.join(map(re.escape, KINDS))}))#(.+)", re.IGNORECASE | re.DOTALL)


def split_sheet(source: str) -> tuple[str, str | None]:
    """The file, and the sheet that stands behind `#`: `tickets.xlsx#March`."""
    named = _SHEET.fullmatch(source)
    return (source, None) if named is None else (named[1], named[2])


def workbook(path: Path, name: str) -> Table:
    """The table in the sheet that is named, or in the only one that has cells; its first row names the columns.

    Args:
        path: of the file, `#` and the name of the sheet behind it or not.

    Raises:
        DataError: it cannot be read, there is no such sheet, or several have cells and none is named.
        MissingExtraError: calamine is not installed.
    """
    header, *body = _cells(path, name)
    columns = tuple(_column(cell) for cell in header)
    if not any(columns):
        raise DataError(f"{name}: row 1 is blank; column names are expected")

    def rows(names: Collection[str]) -> Iterator[Row]:
        require_once(name, columns, names)
        positions = [(at, column) for at, column in enumerate(columns) if column in names]
        index = 0
        for line, cells in enumerate(body, start=2):
            if any(cell != "" for cell in cells):
                yield Row(index, {column: _cell(cells[at]) for at, column in positions}, line)
                index += 1

    return Table(name, tuple(column for column in columns if column), rows)


def _cells(path: Path, name: str) -> list[list[Any]]:
    """All cells of the sheet from its first row on, `""` where nothing stands."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name}: a workbook needs python-calamine; pip install 'semievol[excel]', or save the sheet as CSV"
        ) from error
    file, sheet = split_sheet(str(path))
    try:
        with CalamineWorkbook.from_path(file) as book:
            if sheet is not None and sheet not in book.sheet_names:
                raise DataError(f"{name}: no sheet {sheet!r}; there are {', '.join(map(repr, book.sheet_names))}")
            names = book.sheet_names if sheet is None else [sheet]
            sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in names}
    except (CalamineError, OSError) as error:
        raise DataError(f"{name}: is no workbook that can be read: {first_line(error)}") from error
    filled = [sheet for sheet, rows in sheets.items() if any(cell != "" for row in rows for cell in row)]
    if not filled:
        raise DataError(f"{name}: is empty")
    if len(filled) > 1:
        raise DataError(
            f"{name}: has the sheets {', '.join(map(repr, filled))}; name one, as in {Path(file).name}#{filled[0]}"
        )
    rows: list[list[Any]] = sheets[filled[0]]
    return rows


def _column(cell: Any) -> str:
    return str(_cell(cell)).strip() if cell != "" else ""


def _cell(cell: Any) -> Any:
    """What stands there, `None` if nothing does; all numbers of a workbook are floats, whole ones too."""
    if cell == "":
        return None
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
