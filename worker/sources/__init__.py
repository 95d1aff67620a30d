"""Read the input: bytes of a CSV or JSONL file or a workbook in, numbered rows out. Judges no id."""

from contextlib import ExitStack
from itertools import chain
from typing import BinaryIO

from worker.errors import InputError, UsageError
from worker.sources.base import FAULT_LONG_LINE, ColumnNames, Source
from worker.sources.columns import CONTACT, OPPORTUNITY, check_names, contradiction, differing, shown
from worker.sources.csv_file import DELIMITERS, CsvFile, guess_delimiter, parse_delimiter
from worker.sources.foreign import foreign_json, is_workbook
from worker.sources.json_object import is_object
from worker.sources.jsonl_file import JsonlFile
from worker.sources.lines import beginning, read_text
from worker.sources.message import MESSAGE_COLUMNS, read_message
from worker.sources.opening import RawInput
from worker.sources.rough import RoughTable
from worker.sources.table import fault_of_shape
from worker.sources.workbook import SheetFile

__all__ = [
    "CONTACT",
    "DELIMITERS",
    "FAULT_LONG_LINE",
    "MESSAGE_COLUMNS",
    "OPPORTUNITY",
    "ColumnNames",
    "RoughTable",
    "Source",
    "contradiction",
    "differing",
    "fault_of_shape",
    "guess_delimiter",
    "open_source",
    "read_message",
    "shown",
]

_JSONL = (".jsonl", ".ndjson")
_COMPRESSED = (".gz", ".zst")


def open_source(
    path: str,
    *,
    columns: ColumnNames | None,
    delimiter: str | None,
    sheet: str | None = None,
    stdin: BinaryIO | None = None,
) -> Source:
    """Open an input and read as much of it as is needed to know its format, encoding and columns.

    Args:
        path: a CSV or JSONL file, compressed or not, or an Excel workbook; ``-`` for standard input.
        columns: the columns that hold the ids, if their names do not say so.
        delimiter: of a CSV file, if its first line does not show it; ``tab`` or one character.
        sheet: of a workbook, by name or by number from 1 on; its first visible one if not given.
        stdin: read for ``-`` instead of the standard input of the process.

    Raises:
        InputError: the input cannot be read at all.
        UsageError: ``columns``, ``delimiter`` or ``sheet`` can never be right, or what reads a workbook is
            not installed.
    """
    wanted = columns or {}
    check_names(wanted)
    separator = None if delimiter is None else parse_delimiter(delimiter)
    with ExitStack() as on_error:
        raw = RawInput(path, stdin)
        on_error.callback(raw.close)
        source = _opened(raw, path, wanted, separator, sheet)
        on_error.pop_all()
    return source


def _opened(
    raw: RawInput, path: str, wanted: ColumnNames, delimiter: str | None, sheet: str | None
) -> Source:
    chunks = raw.chunks()
    head = beginning(chunks, raw.label)
    if is_workbook(head, raw.name):
        return SheetFile(raw, chain((head,), chunks), wanted, sheet)
    if sheet is not None:
        raise UsageError(f"--sheet is about an Excel workbook (.xlsx), and {raw.label} is none")
    text = read_text(head, chunks, raw.label)
    if _is_jsonl(path, text.first.lines[0], raw.label):
        return JsonlFile(raw, text, wanted)
    return CsvFile(raw, text, wanted, delimiter)


def _is_jsonl(path: str, first: str, label: str) -> bool:
    """Whether a file has an object a line: its name says so, or its first line is one.

    Raises:
        InputError: it is JSON of another form.
    """
    name = path.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    named = name.endswith(_JSONL) or (name == "-" and first.lstrip().startswith("{"))
    if is_object(first):
        return True
    reason = foreign_json(first, named=named)
    if reason is not None:
        raise InputError(f"{label} {reason}")
    return named
