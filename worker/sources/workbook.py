"""A sheet of an Excel workbook as a table. The library that reads it is an extra, imported when it is needed.

It holds a sheet as a whole, with every cell up to the last row and column that have any: one that spans too
much is refused before.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, TypeAlias

from worker.errors import InputError, UsageError
from worker.models import Dialect
from worker.sources.base import ColumnNames
from worker.sources.columns import shown
from worker.sources.opening import BrokenInputError, RawInput
from worker.sources.records import Record
from worker.sources.table import Table

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

MAX_BYTES = 1024**3
"""Of a workbook; a sheet has 1,048,576 rows at most, and with two ids in each that is some 20 MB."""

MAX_CELLS = 50_000_000
"""Of a sheet; the library takes some 30 bytes for each, empty or not."""

_DAMAGED = "is an Excel workbook that is damaged; open it in Excel, save it again, or save it as CSV"
_LOCKED = "is an Excel workbook with a password; save it without one, or as CSV"
_PANIC = "PanicException"
"""What the library raises where it fails itself; it is no Exception, and has no name to import."""

_Value: TypeAlias = int | float | str | bool | date | time | timedelta


class SheetFile(Table):
    """Rows of a sheet; a line is a row of the sheet, by its number there."""

    format = "xlsx"

    def __init__(
        self, raw: RawInput, chunks: Iterable[bytes], wanted: ColumnNames, sheet: str | None
    ) -> None:
        self.sheet, records = open_sheet(raw, chunks, sheet)
        # As Excel opens a CSV file without asking; the workbook itself says nothing of it.
        dialect = Dialect(",", "utf-8", bom=True, line_end="\r\n")
        super().__init__(raw, padded(records), dialect, wanted, 0)


def open_sheet(raw: RawInput, chunks: Iterable[bytes], wanted: str | None) -> tuple[str, Iterator[Record]]:
    """The name of a sheet, and its rows as records: each up to its last cell that has text.

    Args:
        raw: where it comes from.
        chunks: all of its bytes.
        wanted: name or number of the sheet.

    Raises:
        InputError: there is no such sheet, or it is empty, or the workbook cannot be read.
        UsageError: the library is not installed.
    """
    sheet, errors = _sheet(_collected(chunks, raw.label), wanted, raw.label)
    if sheet.start is None:
        raise InputError(f"{raw.label}: sheet {shown([sheet.name])} is empty")
    return sheet.name, _records(sheet.iter_rows(), sheet.start[1], errors)


def padded(records: Iterable[Record], width: int = 0) -> Iterator[Record]:
    """The same records, so wide at least: of empty cells a sheet knows nothing.

    Args:
        records: of a sheet.
        width: cells of the header; that of the first with text if it is among them.
    """
    for line, cells, fault in records:
        width = width or len(cells)
        yield line, cells + [""] * (width - len(cells)), fault


def _records(
    rows: Iterable[Iterable[_Value]], offset: int, errors: Mapping[int, Mapping[int, str]]
) -> Iterator[Record]:
    """From the top of the sheet on; ``offset`` columns of it are to the left of these rows."""
    left = [""] * offset
    for line, values in enumerate(rows, 1):
        cells = left + [_text(value) for value in values]
        for at, word in errors.get(line - 1, {}).items():
            if at < len(cells):
                cells[at] = word  # the library has nothing there
        while cells and not cells[-1]:
            cells.pop()
        yield line, cells, ""


def _text(value: _Value) -> str:
    """What stands in a cell; a sheet holds all its numbers as floats."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value)


def _collected(chunks: Iterable[bytes], label: str) -> bytes:
    data = bytearray()
    try:
        for chunk in chunks:
            data += chunk
            if len(data) > MAX_BYTES:
                raise InputError(f"{label} is larger than an Excel workbook can be read here; save it as CSV")
    except BrokenInputError as error:
        raise InputError(f"{label} {error}") from error
    return bytes(data)


def _sheet(
    data: bytes, wanted: str | None, label: str
) -> "tuple[CalamineSheet, Mapping[int, Mapping[int, str]]]":
    """The sheet that is wanted, and the errors in it, by row and column.

    Raises:
        InputError: there is none, or the workbook cannot be read, or the sheet is too large.
        UsageError: the library is not installed.
    """
    try:
        from python_calamine import CalamineError, PasswordError, load_workbook  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            f"{label} is an Excel workbook: to read it, pip install 'bulklink[excel]', or save it as CSV"
        ) from error
    try:
        book = load_workbook(io.BytesIO(data))
        name = _chosen(book, wanted, label)
        errors = _errors(data, name, label)
        return book.get_sheet_by_name(name), errors
    except InputError:
        raise
    except PasswordError as error:
        raise InputError(f"{label} {_LOCKED}") from error
    except (CalamineError, OSError, ValueError) as error:
        raise InputError(f"{label} {_DAMAGED}") from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise InputError(f"{label} {_DAMAGED}") from error


def _errors(data: bytes, name: str, label: str) -> Mapping[int, Mapping[int, str]]:
    """The errors in a sheet, by row and column.

    Raises:
        InputError: it is too large.
    """
    from worker.sources.sheet_xml import survey  # noqa: PLC0415 - brings in what a CSV file does not need

    found = survey(io.BytesIO(data), name)
    if found.rows * found.columns > MAX_CELLS:
        raise InputError(
            f"{label}: sheet {shown([name])} goes down to row {found.rows:,} and over {found.columns:,}"
            " columns: delete what stands far out, or save it as CSV"
        )
    return found.errors


def _chosen(book: "CalamineWorkbook", wanted: str | None, label: str) -> str:
    """The name of the sheet: by its name, else by its number; the first visible one if none is named."""
    names = book.sheet_names
    if wanted is None:
        from python_calamine import SheetVisibleEnum  # noqa: PLC0415 - an extra

        visible = [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
        if not visible:
            raise InputError(f"{label} has no sheet that is shown; choose one with --sheet: {shown(names)}")
        return visible[0]
    if wanted in names:
        return wanted
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 else 0  # noqa: PLR2004 - far more than there can be
    if 1 <= number <= len(names):
        return names[number - 1]
    raise InputError(f"{label} has no sheet {shown([wanted])}; it has: {shown(names)}")
