"""A table as it stands, with all that is wrong with it: for who mends it. Nothing of it is left out.

The header is where the first record is whose cells name both ids, in what cannot be seen or not; it need not
be in the first line. Each of the usual delimiters is tried, unless the file or the user says which it is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from typing import BinaryIO, NamedTuple, Self

from worker.doctor import is_id, mended, visible
from worker.errors import InputError
from worker.models import EXTRA, Dialect
from worker.sources.base import ColumnNames
from worker.sources.columns import Layout, check_names, headerless, is_blank, lay_out, refuse_contradiction
from worker.sources.csv_file import DELIMITERS, SEP_LINE, guess_delimiter, parse_delimiter
from worker.sources.foreign import is_workbook
from worker.sources.json_object import is_object
from worker.sources.lines import Block, Text, beginning, line_end, read_text
from worker.sources.opening import RawInput
from worker.sources.records import Record, Records
from worker.sources.workbook import open_sheet, padded

HEADER_WITHIN = 50
"""Records in which the header is looked for; what is so far down is no title any more."""


class _Header(NamedTuple):
    """Where the header is.

    Attributes:
        line: of it, or of the first row if there is none.
        delimiter: under which it was found.
        layout: what it says.
        cells: its own, mended; empty if there is none.
    """

    line: int
    delimiter: str
    layout: Layout
    cells: list[str]


class RoughTable:
    """Records of a CSV file or a sheet.

    Attributes:
        name: base name of the path.
        label: how messages call it.
        dialect: how it is written.
        sheet: the one of a workbook that is read; empty if it is none.
        header: its cells, mended; empty if the first row is data.
        found: its cells as they stand.
        line: where the header is, or the first row if there is none.
        before: what stands before that: its line, its text, and what it is (``blank``, ``before_header``,
            ``sep_line``).
        layout: what it says.
        records: all after it, in order; a blank line is a record without cells.
    """

    dialect: Dialect
    layout: Layout
    line: int
    header: list[str]
    found: list[str]
    records: Iterator[Record]

    def __init__(
        self,
        path: str,
        *,
        columns: ColumnNames | None,
        delimiter: str | None,
        sheet: str | None = None,
        stdin: BinaryIO | None = None,
    ) -> None:
        """Read it up to the header; for the arguments see :func:`worker.sources.open_source`.

        Raises:
            InputError: it cannot be read at all, or has no header that names both ids.
            UsageError: an argument can never be right, or what reads a workbook is not installed.
        """
        self._wanted = columns or {}
        check_names(self._wanted)
        separator = None if delimiter is None else parse_delimiter(delimiter)
        with ExitStack() as on_error:
            self._raw = raw = RawInput(path, stdin)
            on_error.callback(raw.close)
            self.name, self.label, self.sheet = raw.name, raw.label, ""
            self.before: list[tuple[int, str, str]] = []
            chunks = raw.chunks()
            head = beginning(chunks, raw.label)
            if is_workbook(head, raw.name):
                self.sheet, records = open_sheet(raw, chain((head,), chunks), sheet)
                self.dialect = Dialect(separator or ",")
                self._read_sheet(records)
            else:
                self._read_text(read_text(head, chunks, raw.label, guess=True), separator)
            on_error.pop_all()

    def close(self) -> None:
        """Close the file, unless it is standard input."""
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_sheet(self, records: Iterator[Record]) -> None:
        first = list(islice(records, HEADER_WITHIN))
        header = self._found([lambda: ((self.dialect.delimiter, one) for one in first)])
        below = chain(first, records)
        for line, cells, _ in below:
            if line == header.line:
                self._take(header, (line, cells, ""), padded(below, len(cells)))
                return
            self.before.append(
                (line, self.dialect.delimiter.join(cells), "before_header" if cells else "blank")
            )

    def _read_text(self, text: Text, delimiter: str | None) -> None:
        first, sep = text.first, SEP_LINE.fullmatch(text.first.lines[0])
        if is_object(first.lines[0]):
            raise InputError(f"{self.label} has an object a line; what --fix mends is CSV, or a workbook")
        self.before = [(line, "", "blank") for line in range(1, first.line)]
        blocks = [first]
        while sum(len(block.lines) for block in blocks) < HEADER_WITHIN:
            block = next(text.blocks, None)
            if block is None:
                break
            blocks.append(block)
        guess = sep[1] if sep else guess_delimiter(first.lines[0])
        tried = [
            delimiter or guess,
            *(() if delimiter or sep else (one for one in DELIMITERS if one != guess)),
        ]
        header = self._found([_reading(blocks, one, skip=bool(sep)) for one in tried])
        end = line_end(first.lines[bool(sep) :] or first.lines)
        self.dialect = Dialect(header.delimiter, text.encoding, text.bom, end, sep_line=bool(sep))
        rest: list[Block] = []
        for block in blocks:
            above = min(max(header.line - block.line, 0), len(block.lines))
            self.before += [
                (line, bare, "before_header" if bare.strip(header.delimiter + " ") else "blank")
                for line, bare in enumerate((one.rstrip("\r\n") for one in block.lines[:above]), block.line)
            ]
            if above < len(block.lines):
                rest.append(Block(block.line + above, block.lines[above:], block.overlong))
        if sep:
            line, words, _ = self.before[first.line - 1]
            self.before[first.line - 1] = (line, words, "sep_line")
        records = Records(header.delimiter, whole=True).read(chain(rest, text.blocks))
        self._take(header, next(records), records)

    def _take(self, header: _Header, record: Record, rest: Iterator[Record]) -> None:
        self.layout = header.layout
        self.line = header.line
        self.header = header.cells
        self.found = record[1] if header.cells else []
        records = rest if header.cells else chain((record,), rest)
        seen: list[Record] = []
        for one in records:
            seen.append(one)
            if not is_blank(one[1]):
                refuse_contradiction(one[1], header.layout, header.cells, self.label)
                break
        self.records = chain(seen, records)

    def _found(self, readings: Sequence[Callable[[], Iterable[tuple[str, Record]]]]) -> _Header:
        """The header, under the first delimiter that shows one.

        Raises:
            InputError: none does; it says why of the record that has most cells.
        """
        error, most = InputError(f"{self.label} is empty"), 0
        for reading in readings:
            is_first = True
            for delimiter, (line, cells, fault) in islice(reading(), HEADER_WITHIN):
                names = [visible(cell) for cell in cells]
                if is_blank(names):
                    continue
                try:
                    found = None if fault else self._judged(cells, names, is_first=is_first)
                except InputError as refusal:
                    if len(cells) > most:
                        error, most = refusal, len(cells)
                    found = None
                if found is not None:
                    return _Header(line, delimiter, *found)
                # What has two numbers may be a row, and is not to be dropped as a title.
                if sum(map(is_id, names)) > 1:
                    break
                is_first = False
        raise error

    def _judged(self, cells: list[str], names: list[str], *, is_first: bool) -> tuple[Layout, list[str]]:
        """What a record says as a header, and its cells as one; none of a row of a table without one."""
        if is_first:
            layout = headerless(cells, self._wanted)
            if layout is None:
                # It will be one when both of its ids are mended, and only then.
                ids = [mended(cell)[0] for cell in cells]
                layout = headerless(ids, self._wanted)
                if layout and not (is_id(ids[layout.opportunity]) and is_id(ids[layout.contact])):
                    layout = None
            if layout is not None:
                return layout, []
        header = list(names)
        while len(header) > 1 and header[-1] == EXTRA:
            header.pop()
        return lay_out(header, self._wanted, self.label), names


def _reading(
    blocks: Sequence[Block], delimiter: str, *, skip: bool
) -> Callable[[], Iterator[tuple[str, Record]]]:
    """The records of some blocks under a delimiter, without the first line if that is to be skipped."""
    first = blocks[0]
    if skip:
        first = Block(first.line + 1, first.lines[1:], first.overlong)

    def read() -> Iterator[tuple[str, Record]]:
        return ((delimiter, one) for one in Records(delimiter).read(iter((first, *blocks[1:]))))

    return read
