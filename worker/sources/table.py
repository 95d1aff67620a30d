"""Records of cells as rows, be they lines of a CSV file or rows of a sheet: header, width. Judges no id."""

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter

from worker.errors import InputError
from worker.models import EXTRA, Dialect, Row
from worker.sources.base import FAULT_TEXT_LENGTH, Chosen, ColumnNames, FileSource
from worker.sources.columns import (
    CONTACT,
    OPPORTUNITY,
    Layout,
    contradiction,
    differing,
    headerless,
    is_blank,
    lay_out,
    refuse_contradiction,
)
from worker.sources.opening import RawInput
from worker.sources.records import Record

MAX_COLUMNS = 16_384
"""As many as a spreadsheet has; more is no table, and each short row would be padded to it."""

MAX_EXTRA = 50
"""Cells beyond the header that are kept apart; what is behind them goes into the last of them together."""


class Table(FileSource):
    """Rows of cells whose header has been read; the subclass brings the records."""

    def __init__(
        self, raw: RawInput, records: Iterator[Record], dialect: Dialect, wanted: ColumnNames, skipped: int
    ) -> None:
        """Read the header.

        Args:
            raw: where it comes from.
            records: all of them, in order.
            dialect: how it is written.
            wanted: the columns that hold the ids, if their names do not say so.
            skipped: lines before the first record.

        Raises:
            InputError: there is no header that names both ids.
        """
        super().__init__(raw)
        self.dialect = dialect
        self._skipped = skipped
        self._records = records
        self._header: Sequence[str] = ()
        self._layout = self._read_header(wanted)
        if self._layout.rivals:
            self._refuse_contradiction()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the file."""
        return self._layout.names

    @property
    def ids(self) -> dict[str, Chosen]:
        """The columns that hold the ids, by role."""
        layout = self._layout
        found: dict[str, Chosen] = {}
        for which, at in ((OPPORTUNITY, layout.opportunity), (CONTACT, layout.contact)):
            place = layout.kept.index(at)
            found[which.role] = Chosen(layout.names[place], place, at + 1)
        return found

    @property
    def blank(self) -> int:
        """Lines and rows without any text, so far; they are no rows."""
        return self._skipped

    def _read_header(self, wanted: ColumnNames) -> Layout:
        label = self._raw.label
        record: Record | None = next(self._records)
        while record is not None and not record[2] and is_blank(record[1]):
            self._skipped += 1
            record = next(self._records, None)
        if record is None:
            raise InputError(f"{label} is empty")
        line, header, fault = record
        if fault:
            raise InputError(f"{label} has no readable header: {fault} in line {line}")
        if len(header) > MAX_COLUMNS:
            raise InputError(f"{label} has {len(header)} columns; {MAX_COLUMNS} is the most")
        layout = headerless(header, wanted)
        if layout is not None:
            self.has_header = False
            self._records = chain((record,), self._records)
            return layout
        while len(header) > 1 and header[-1] == EXTRA:
            header.pop()  # what stands there is beyond the header of the input that it comes from
        self._header = header
        return lay_out(header, wanted, label)

    def _refuse_contradiction(self) -> None:
        """Look at the first row for two columns that are both the same id: nobody has said which."""
        for record in self._records:
            if not record[2] and is_blank(record[1]):
                self._skipped += 1
                continue
            self._records = chain((record,), self._records)
            refuse_contradiction(record[1], self._layout, self._header, self._raw.label)
            return

    def _checked(self, record: Record) -> Record:
        """The record, faulty if two of its columns are both the same id."""
        line, cells, fault = record
        found = None if fault else contradiction(cells, self._layout)
        if found is None:
            return record
        return line, cells, differing(found, self._header)

    def _read(self) -> Iterator[Row]:
        layout = self._layout
        width, opportunity, contact = layout.width, layout.opportunity, layout.contact
        # With both ids kept there are two or more positions, so itemgetter always makes a tuple.
        keep = tuple if len(layout.kept) == width else itemgetter(*layout.kept)
        records = map(self._checked, self._records) if layout.rivals else self._records
        number = 0
        for line, cells, fault in records:
            if fault or len(cells) != width:
                odd = self._odd(number + 1, line, cells, fault)
                if odd is not None:
                    number += 1
                    yield odd
                continue
            asked = cells[opportunity]
            # Cheaper than asking whether it is blank, and true of all that are.
            if not "!" <= asked <= "\x7f" and is_blank(cells):
                self._skipped += 1
                continue
            number += 1
            yield Row(number, line, keep(cells), asked, cells[contact])

    def _odd(self, number: int, line: int, cells: list[str], fault: str) -> Row | None:
        """A row that is unreadable or contradicts itself, or has too many cells or too few; None if blank."""
        layout = self._layout
        have, width = len(cells), layout.width
        if fault and have == 1:
            # Its text goes into one cell: cut to the columns, it might look like another row.
            kept = (cells[0][:FAULT_TEXT_LENGTH], *[""] * (len(layout.kept) - 1))
            return Row(number, line, kept, None, None, fault)
        if is_blank(cells):
            self._skipped += 1
            return None
        padded = cells + [""] * (width - have)
        kept = tuple(padded[at] for at in layout.kept)
        beyond = list(with_text(cells[width:]))
        fault = fault or fault_of_shape(cells, layout)
        if not fault:
            return Row(number, line, kept, cells[layout.opportunity], cells[layout.contact])
        # What is beyond the header is kept, so that a row whose cells are shifted by a stray delimiter
        # cannot look whole in the output: a second run over that file could link the wrong pair.
        if len(beyond) > MAX_EXTRA:
            beyond[MAX_EXTRA - 1 :] = [self.dialect.delimiter.join(beyond[MAX_EXTRA - 1 :])]
        return Row(number, line, (*kept, *beyond), None, None, fault)


def fault_of_shape(cells: Sequence[str], layout: Layout) -> str:
    """Why cells are no row under their header: too many have text, or there are too few; else empty."""
    have, width = len(cells), layout.width
    beyond = len(with_text(cells[width:]))
    if beyond:
        return f"row has {beyond} cell{'s' * (beyond > 1)} more than the header"
    if have <= max(layout.opportunity, layout.contact):
        return f"row has {have} cell{'s' * (have > 1)}, the header has {width}"
    return ""


def with_text(cells: Sequence[str]) -> Sequence[str]:
    """The cells up to the last one that has text."""
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    return cells
