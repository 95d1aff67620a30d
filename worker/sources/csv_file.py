"""A CSV file as rows: delimiter, header, width. Judges no id and knows nothing of JSON."""

import re
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter

from worker.errors import InputError, UsageError
from worker.models import Row
from worker.sources.base import FAULT_TEXT_LENGTH, ColumnNames, FileSource
from worker.sources.columns import HEADERLESS, Layout, lay_out
from worker.sources.lines import Block, skip_blank
from worker.sources.making import make_row
from worker.sources.opening import RawInput
from worker.sources.records import read_records

MAX_COLUMNS = 16_384
"""As many as a spreadsheet has; more is no table, and each short row would be padded to it."""

_DELIMITERS = ",;\t|"
_WORDS = {"tab": "\t", "\\t": "\t"}
_QUOTED = re.compile(r'"[^"]*(?:"|$)')
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)
_INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)


class CsvFile(FileSource):
    """Rows of a CSV file whose header has been read."""

    def __init__(
        self, raw: RawInput, blocks: Iterator[Block], wanted: ColumnNames, delimiter: str | None
    ) -> None:
        super().__init__(raw)
        first = next(blocks)
        # Excel writes and hides this line; it counts as a line, but is neither header nor row.
        excel = _SEP_LINE.fullmatch(first.lines[0])
        if excel:
            rest = first._replace(line=first.line + 1, lines=first.lines[1:])
            blocks = skip_blank(chain((rest,), blocks), raw.label)
            first = next(blocks)
        if delimiter is None:
            delimiter = excel[1] if excel else guess_delimiter(first.lines[0])
        self._delimiter = delimiter
        self._records = read_records(chain((first,), blocks), delimiter)
        self._layout = self._read_header(wanted)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the file."""
        return self._layout.names

    def _read_header(self, wanted: ColumnNames) -> Layout:
        line, header, fault = first = next(self._records)
        label = self._raw.label
        if fault:
            raise InputError(f"{label} has no readable header: {fault} in line {line}")
        if len(header) > MAX_COLUMNS:
            raise InputError(f"{label} has {len(header)} columns; {MAX_COLUMNS} is the most")
        if not wanted and len(header) == HEADERLESS.width and all(map(_INTEGER.fullmatch, header)):
            self._records = chain((first,), self._records)
            return HEADERLESS
        return lay_out(header, wanted, label)

    def _read(self) -> Iterator[Row]:
        layout = self._layout
        width, opportunity, contact = layout.width, layout.opportunity, layout.contact
        # With both ids kept there are two or more positions, so itemgetter always makes a tuple.
        keep = tuple if len(layout.kept) == width else itemgetter(*layout.kept)
        for number, (line, cells, fault) in enumerate(self._records, 1):
            if fault or len(cells) != width:
                yield self._odd(number, line, cells, fault)
            else:
                yield make_row(number, line, keep(cells), cells[opportunity], cells[contact])

    def _odd(self, number: int, line: int, cells: list[str], fault: str) -> Row:
        """A row that is unreadable, or has too many cells or too few."""
        layout = self._layout
        have = len(cells)
        if not fault and have < layout.width:
            padded = cells + [""] * (layout.width - have)
            kept = tuple(padded[at] for at in layout.kept)
            if have > max(layout.opportunity, layout.contact):
                return make_row(number, line, kept, cells[layout.opportunity], cells[layout.contact])
            return make_row(number, line, kept, None, None, self._width_fault(have))
        # The text goes into one cell: cut to the columns, a row whose cells are shifted by a stray delimiter
        # would look whole in the output, and a second run over that file could link the wrong pair.
        text = cells[0] if fault else self._delimiter.join(cells)
        kept = (text[:FAULT_TEXT_LENGTH], *[""] * (len(layout.kept) - 1))
        return make_row(number, line, kept, None, None, fault or self._width_fault(have))

    def _width_fault(self, have: int) -> str:
        return f"row has {have} cell{'s' * (have != 1)}, the header has {self._layout.width}"


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
    return max(_DELIMITERS, key=bare.count)
