"""linked.csv, rejected.csv and retry.csv: the input's own columns, then what became of the row."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from worker.errors import LedgerError
from worker.ledger import LedgerReader, RowRecord
from worker.models import EXTRA, Dialect, Status
from worker.sinks.atomic import KEPT, replaced

FILES: Mapping[str, tuple[Status, ...]] = MappingProxyType(
    {
        "linked.csv": (Status.LINKED, Status.ALREADY_LINKED),
        "rejected.csv": (Status.INVALID, Status.REJECTED),
        "retry.csv": (Status.RETRYABLE, Status.UNKNOWN, Status.NOT_ATTEMPTED),
    }
)
"""Which rows go where. A duplicate is in none: its pair is, where it stood first. Links that a rollback has
removed are no longer in linked.csv; rollback.csv has them."""

ADDED = ("_line", "_status", "_http_status", "_reason", "_attempts")
_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a formula may begin with; a Japanese Excel takes the full-width forms of the signs as well."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the files of a run are written: with the columns of its input, and as that is written."""

    columns: Sequence[str] = ("opportunity_id", "contact_id")
    dialect: Dialect = field(default_factory=Dialect)


def form_of(reader: LedgerReader) -> Form:
    """The form that a ledger says its input has; a run that read nothing has the plainest.

    Raises:
        LedgerError: what it says can be the form of no input.
    """
    facts = reader.meta()
    known = {name: facts[name] for name in ("columns", "dialect") if name in facts}
    if "dialect" in known:
        try:
            known["dialect"] = Dialect(**known["dialect"])
        except (TypeError, ValueError) as error:
            raise LedgerError(f"{reader.path}: damaged: it does not say how its input is written") from error
    return Form(**known)


def write_outcomes(reader: LedgerReader, path: Path) -> None:
    """Write the rows of one file of :data:`FILES`, in input order; header only if there are none."""
    statuses = FILES[path.name]
    form = form_of(reader)
    rows = reader.rows(statuses, standing=Status.LINKED in statuses)
    write_records(
        path,
        form,
        ((row, (row.line, row.status, row.http_status, row.reason, row.attempts)) for row in rows),
        # Only what was never a pair has cells beyond the columns.
        extra=max(0, reader.most_cells(Status.INVALID) - len(form.columns))
        if Status.INVALID in statuses
        else 0,
    )


def write_records(
    path: Path,
    form: Form,
    rows: Iterable[tuple[RowRecord, Sequence[object]]],
    *,
    extra: int = 0,
    kept: str = KEPT,
) -> None:
    """Write rows with their own columns, and for each what stands under :data:`ADDED`.

    Args:
        path: of the file.
        form: how it is written.
        rows: each with the cells that are added to it.
        extra: columns for the cells that a row may have beyond its own; our reader knows them by their name.
        kept: what an error says of what is not lost by it.
    """
    columns, dialect = form.columns, form.dialect
    width = len(columns)
    with replaced(path, encoding=dialect.encoding, kept=kept) as file:
        if dialect.bom:
            file.write("\ufeff")
        if dialect.sep_line:
            file.write(f"sep={dialect.delimiter}{dialect.line_end}")
        # Before Python 3.13 csv quotes a lone CR only where the line terminator has one.
        ends = LineEnds(file, dialect.line_end)
        writer = csv.writer(ends, delimiter=dialect.delimiter, lineterminator="\r\n")
        writer.writerow([*map(defused, columns), *ADDED, *[EXTRA] * extra])
        for row, added in rows:
            if len(row.cells) == width and not extra:  # as nearly all are
                writer.writerow([*map(defused, row.cells), *added])
                continue
            # A source whose columns grow while it is read left its early rows shorter.
            cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
            beyond = [*row.cells[width:], *[""] * (width + extra - max(width, len(row.cells)))]
            writer.writerow([*map(defused, cells), *added, *map(defused, beyond)])


class LineEnds:
    """Ends each record otherwise than csv does, which is told to end it in CRLF."""

    def __init__(self, file: TextIO, end: str) -> None:
        self._file = file
        self._end = end

    def write(self, record: str) -> int:
        """Write a record that ends in CRLF."""
        return self._file.write(record.removesuffix("\r\n") + self._end)


def defused(cell: str) -> str:
    """The cell, with a quote before what a spreadsheet would run as a formula."""
    return f"'{cell}" if cell[:1] in _FORMULA else cell
