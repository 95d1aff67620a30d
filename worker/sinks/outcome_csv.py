"""linked.csv, rejected.csv and retry.csv: the input's own columns, then what became of the row."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from worker.ledger import LedgerReader, RowRecord
from worker.models import Status
from worker.sinks.atomic import replaced

FILES: Mapping[str, tuple[Status, ...]] = MappingProxyType(
    {
        "linked.csv": (Status.LINKED, Status.ALREADY_LINKED),
        "rejected.csv": (Status.INVALID, Status.REJECTED),
        "retry.csv": (Status.RETRYABLE, Status.UNKNOWN, Status.NOT_ATTEMPTED),
    }
)
"""Which rows go where. A duplicate is in none: its pair is, where it stood first."""

ADDED = ("_line", "_status", "_http_status", "_reason", "_attempts")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_outcomes(reader: LedgerReader, path: Path, columns: Sequence[str]) -> None:
    """Write the rows of one file of :data:`FILES`, in input order; header only if there are none."""
    rows = reader.rows(FILES[path.name])
    write_records(
        path,
        columns,
        ((row, (row.line, row.status, row.http_status, row.reason, row.attempts)) for row in rows),
    )


def write_records(
    path: Path, columns: Sequence[str], rows: Iterable[tuple[RowRecord, Sequence[object]]]
) -> None:
    """Write rows with their own columns, and for each what stands under :data:`ADDED`."""
    with replaced(path) as file:
        # Before Python 3.13 csv quotes a lone CR only where the line terminator has one.
        writer = csv.writer(_UnixLines(file), lineterminator="\r\n")
        writer.writerow([*map(_defused, columns), *ADDED])
        for row, added in rows:
            # A source whose columns grow while it is read left its early rows shorter.
            cells = [*row.cells, *[""] * (len(columns) - len(row.cells))]
            writer.writerow([*map(_defused, cells), *added])


class _UnixLines:
    """Ends each record as other tools on this system expect."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, record: str) -> int:
        return self._file.write(record.removesuffix("\r\n") + "\n")


def _defused(cell: str) -> str:
    """The cell, with a quote before what a spreadsheet would run as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
