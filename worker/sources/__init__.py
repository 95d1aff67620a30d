"""Read the input: bytes of a CSV or JSONL file in, numbered rows out. Judges no id, knows no portal."""

from contextlib import ExitStack
from typing import BinaryIO

from worker.errors import InputError
from worker.sources.base import ColumnNames, Source
from worker.sources.columns import CONTACT, OPPORTUNITY, check_names, shown
from worker.sources.csv_file import CsvFile, parse_delimiter
from worker.sources.foreign import foreign_json
from worker.sources.json_object import is_object
from worker.sources.jsonl_file import JsonlFile
from worker.sources.lines import read_text
from worker.sources.message import MESSAGE_COLUMNS, read_message
from worker.sources.opening import RawInput

__all__ = [
    "CONTACT",
    "MESSAGE_COLUMNS",
    "OPPORTUNITY",
    "ColumnNames",
    "Source",
    "open_source",
    "read_message",
    "shown",
]

_JSONL = (".jsonl", ".ndjson")
_COMPRESSED = (".gz", ".zst")


def open_source(
    path: str, *, columns: ColumnNames | None, delimiter: str | None, stdin: BinaryIO | None = None
) -> Source:
    """Open an input and read as much of it as is needed to know its format, encoding and columns.

    Args:
        path: a CSV or JSONL file, compressed or not; ``-`` for standard input.
        columns: the columns that hold the ids, if their names do not say so.
        delimiter: of a CSV file, if its first line does not show it; ``tab`` or one character.
        stdin: read for ``-`` instead of the standard input of the process.

    Raises:
        InputError: the input cannot be read at all.
        UsageError: ``columns`` or ``delimiter`` can never be right.
    """
    wanted = columns or {}
    check_names(wanted)
    separator = None if delimiter is None else parse_delimiter(delimiter)
    with ExitStack() as on_error:
        raw = RawInput(path, stdin)
        on_error.callback(raw.close)
        text = read_text(raw.chunks(), raw.label)
        source: Source
        if _is_jsonl(path, text.first.lines[0], raw.label):
            source = JsonlFile(raw, text, wanted)
        else:
            source = CsvFile(raw, text, wanted, separator)
        on_error.pop_all()
    return source


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
