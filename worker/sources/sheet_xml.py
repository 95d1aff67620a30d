"""What the library for workbooks does not tell of a sheet: how large it is before it is held, and its errors.

A sheet is read through once, in pieces, as text. In it a cell is ``<c r="B2" t="e">...<v>#N/A</v></c>``.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from lxml import etree

_PIECE = 1024 * 1024
_LONGEST_ROW = 16 * _PIECE
"""Bytes that are held to find the end of a row; it has 16,384 cells at most."""

_TAIL = 256 * 1024
"""Bytes at the end of a piece in which rows are counted."""

_ROW = re.compile(rb'<(?:\w+:)?row\s(?:[^>]*?\s)?r="([0-9]{1,9})"')
_FAR_OUT = re.compile(rb'\br="(?:[A-Z]{2}|[A-Z][0-9]{7})')
"""Of a column after Z, or a row that no sheet has; up to there a sheet is not too large."""

_CELL = re.compile(rb'<(?:\w+:)?c\s(?:[^>]*?\s)?r="([A-Z]{1,9})([0-9]{1,18})"[^>]*(?<!/)>')
_ERROR = re.compile(
    rb'<(?:\w+:)?c(?=\s[^>]*\bt="e")\s(?:[^>]*?\s)?r="([A-Z]{1,3})([0-9]{1,9})"[^>]*>'
    rb"(?:<(?:\w+:)?f\b[^>]*/>|<(?:\w+:)?f\b[^>]*>[^<]*</(?:\w+:)?f>)?<(?:\w+:)?v>([^<]{1,20})<"
)


@dataclass(slots=True)
class Survey:
    """What a sheet has.

    Attributes:
        rows: up to the last one.
        columns: up to the last one that has a value; 26 if that is not after Z.
        errors: what formulas ended with, by row and column, both from 0 on.
    """

    rows: int = 0
    columns: int = 26
    errors: dict[int, dict[int, str]] = field(default_factory=dict)


def survey(file: BinaryIO, sheet: str) -> Survey:
    """Read a sheet through; nothing is found where a workbook is not built as they are.

    Args:
        file: the workbook.
        sheet: name of the sheet.
    """
    found = Survey()
    try:
        with zipfile.ZipFile(file) as archive, archive.open(_part(archive, sheet)) as part:
            for piece in _pieces(part):
                _look(piece, found)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, LookupError, ValueError, RuntimeError):
        pass  # what is wrong with it is for the library to say
    except etree.LxmlError:
        pass
    return found


def _part(archive: zipfile.ZipFile, sheet: str) -> str:
    """The name of the file that holds a sheet.

    Raises:
        KeyError: it is not where it should be.
    """
    for one in _tree(archive, "xl/workbook.xml").iter("{*}sheet"):
        if one.get("name") == sheet:
            link = next((value for name, value in one.items() if str(name).endswith("}id")), None)
            break
    else:
        raise KeyError(sheet)
    for one in _tree(archive, "xl/_rels/workbook.xml.rels").iter("{*}Relationship"):
        if one.get("Id") == link:
            target = str(one.get("Target"))
            return target[1:] if target.startswith("/") else f"xl/{target}"
    raise KeyError(link)


def _tree(archive: zipfile.ZipFile, name: str) -> etree._Element:
    with archive.open(name) as file:
        return etree.fromstring(
            file.read(_LONGEST_ROW), etree.XMLParser(resolve_entities=False, no_network=True)
        )


def _pieces(part: IO[bytes]) -> Iterator[bytes]:
    """The text in pieces that end where a row does."""
    held = b""
    while piece := part.read(_PIECE):
        held += piece
        end = held.rfind(b"row>") + 4
        if end < len(b"row>") and len(held) < _LONGEST_ROW:
            continue
        end = end if end >= len(b"row>") else len(held)
        yield held[:end]
        held = held[end:]
    yield held


def _look(piece: bytes, found: Survey) -> None:
    # Rows are in order, so the last is among the last.
    found.rows = max(found.rows, max(map(int, _ROW.findall(piece, max(0, len(piece) - _TAIL))), default=0))
    if _FAR_OUT.search(piece):
        for column, row in _CELL.findall(piece):
            found.columns = max(found.columns, _number(column))
            found.rows = max(found.rows, int(row))
    if b't="e"' in piece:
        for column, row, text in _ERROR.findall(piece):
            cells = found.errors.setdefault(int(row) - 1, {})
            cells[_number(column) - 1] = text.decode("ascii", "replace")


def _number(letters: bytes) -> int:
    """A column's number, from 1 on: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number
