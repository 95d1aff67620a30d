"""A CSV file as a table: its delimiter, and the line that tells Excel of it."""

import re
from itertools import chain

from worker.errors import UsageError
from worker.models import Dialect
from worker.sources.base import ColumnNames
from worker.sources.lines import Text, line_end, skip_blank
from worker.sources.opening import RawInput
from worker.sources.records import Records
from worker.sources.table import Table

DELIMITERS = ",;\t|"
SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)
"""Excel writes and hides this line; it counts as a line, but is neither header nor row."""

_WORDS = {"tab": "\t", "\\t": "\t"}
_QUOTED = re.compile(r'"[^"]*(?:"|$)')


class CsvFile(Table):
    """Rows of a CSV file."""

    format = "csv"

    def __init__(self, raw: RawInput, text: Text, wanted: ColumnNames, delimiter: str | None) -> None:
        blocks, first = text.blocks, text.first
        skipped = first.line - 1
        excel = SEP_LINE.fullmatch(first.lines[0])
        if excel:
            rest = first._replace(line=first.line + 1, lines=first.lines[1:])
            blocks = skip_blank(chain((rest,), blocks), raw.label)
            first = next(blocks)
            skipped += first.line - rest.line
        if delimiter is None:
            delimiter = excel[1] if excel else guess_delimiter(first.lines[0])
        dialect = Dialect(delimiter, text.encoding, text.bom, line_end(first.lines), sep_line=bool(excel))
        self._reader = Records(delimiter)
        super().__init__(raw, self._reader.read(chain((first,), blocks)), dialect, wanted, skipped)

    @property
    def blank(self) -> int:
        """Lines and rows without any text, so far; they are no rows."""
        return super().blank + self._reader.blank


def parse_delimiter(text: str) -> str:
    r"""Read the option: ``tab``, ``\t`` or one character.

    Raises:
        UsageError: neither, or a character that already has a meaning in CSV.
    """
    delimiter = _WORDS.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise UsageError(f"--delimiter is one character or tab, not {text!r}")
    return delimiter


def guess_delimiter(line: str) -> str:
    """The candidate that stands most often outside quotes in the first line; a comma if none does."""
    bare = _QUOTED.sub("", line)
    return max(DELIMITERS, key=bare.count)
