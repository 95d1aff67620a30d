"""Read and judge an input without a network."""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TextIO

from worker.doctor import EMPTY_IN_SHEET, HEADER_AGAIN, other_column, suspect, swallowed, visible
from worker.errors import InputError, OutputError
from worker.judge import key_of
from worker.models import Row
from worker.run.distinct import Distinct
from worker.run.sample import Sample
from worker.sources import CONTACT, OPPORTUNITY, Source


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that can never be a pair: where it stands, why, and the text that shows it."""

    row: int
    line: int
    reason: str
    text: str


_FAULT_FIELDS = len(fields(Fault))


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A cell that has not become what it is by itself: where it stands, what it is, and what to do."""

    row: int
    line: int
    column: str
    text: str
    kind: str
    advice: str


_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What a byte becomes that is none of UTF-8. UTF-16 is right or refused, and a sheet has no bytes."""


@dataclass(slots=True)
class NotUtf8:
    """Cells with bytes that are not UTF-8, and where the first of them is.

    Attributes:
        line: None for the header.
        column: its name; empty if it is beyond the header, or of a row that cannot be taken apart.
    """

    cells: int = 0
    line: int | None = None
    column: str = ""

    def look_at(self, line: int | None, cells: Sequence[str], columns: Sequence[str]) -> None:
        """Count those of a row, or of the header."""
        for at, cell in enumerate(cells):
            if _NOT_UTF8.search(cell):
                if not self.cells:
                    self.line, self.column = line, columns[at] if at < len(columns) else ""
                self.cells += 1


@dataclass(slots=True)
class CheckResult:
    """What an input holds.

    Attributes:
        source: what was read, closed by whoever opened it.
        not_utf8: cells that are not what the encoding says.
        blank: lines and rows without any text; they are no rows.
        broken: where and why the input broke off; empty if it was read to its end.
    """

    source: Source
    not_utf8: NotUtf8
    rows: int = 0
    blank: int = 0
    pairs: int = 0
    duplicates: int = 0
    invalid: int = 0
    broken: str = ""
    _found: Path = Path()

    def found(self) -> Iterator[Fault | Suspicion]:
        """Every invalid row and what is suspicious, in input order; on disk, for there may be millions."""
        with self._found.open(encoding="ascii") as file:
            for line in file:
                values = json.loads(line)
                yield Fault(*values) if len(values) == _FAULT_FIELDS else Suspicion(*values)

    def faults(self) -> Iterator[Fault]:
        """Every invalid row, in input order."""
        return (one for one in self.found() if isinstance(one, Fault))

    def suspicions(self) -> Iterator[Suspicion]:
        """Whatever is suspicious, in input order; of invalid rows, and of others."""
        return (one for one in self.found() if isinstance(one, Suspicion))


@contextmanager
def checked(source: Source, limit: int | None, sample: Sample | None = None) -> Iterator[CheckResult]:
    """Judge every row and find the duplicates; what that takes on disk is gone at the end of the block.

    Args:
        source: open.
        limit: rows after which it is read no further; None for all.
        sample: is given every pair, if there is one.

    Raises:
        OutputError: there is no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        path = Path(folder) / "found.jsonl"
        result = CheckResult(source, NotUtf8(), _found=path)
        try:
            with path.open("w", encoding="ascii") as found:
                _check(result, Distinct(Path(folder)), found, limit, sample)
        except OSError as error:
            where = Path(folder).parent
            raise OutputError(
                f"{where}: {error.strerror}; make room, or name another folder in TMPDIR"
            ) from error
        result.blank = source.blank
        yield result


def _check(
    result: CheckResult, pairs: Distinct, found: TextIO, limit: int | None, sample: Sample | None
) -> None:
    source = result.source
    add = pairs.add if sample is None else _both(pairs.add, sample.add)
    last: Row | None = None
    line = sys.maxsize  # of the last row
    has_bytes = source.format != "xlsx"
    if has_bytes:
        result.not_utf8.look_at(None, source.columns, source.columns)
    try:
        for row in islice(source.rows(), limit):
            result.rows += 1
            if has_bytes and not "".join(row.cells).isascii():
                result.not_utf8.look_at(row.line, row.cells, () if row.fault else source.columns)
            key = key_of(row)
            # More than a line further: blank ones were between, or the last row had several.
            if row.line - line > 1:
                _look_into(last, source, found)
            if isinstance(key, str):
                result.invalid += 1
                found.write(f"{json.dumps((row.number, row.line, key, _text(row, key, source)))}\n")
                _look_at(row, source, found)
            else:
                add(key)
            last, line = row, row.line
    except InputError as error:
        result.broken = str(error)
    _look_into(last, source, found)
    result.pairs = pairs.count()
    result.duplicates = result.rows - result.invalid - result.pairs


def _both(first: Callable[[int], None], second: Callable[[int], None]) -> Callable[[int], None]:
    def add(key: int) -> None:
        first(key)
        second(key)

    return add


def _look_at(row: Row, source: Source, found: TextIO) -> None:
    """Note what may have become of the ids of a row that has none."""
    ids = source.ids
    taken = {one.place for one in ids.values()}
    if _is_header(row, source):
        first = ids[OPPORTUNITY.role].name
        _note(found, Suspicion(row.number, row.line, first, row.opportunity or "", *HEADER_AGAIN))
        return
    for which, text in ((OPPORTUNITY, row.opportunity), (CONTACT, row.contact)):
        if text is None or which.role not in ids:
            continue
        is_empty_in_sheet = source.format == "xlsx" and not text.strip()
        finding = EMPTY_IN_SHEET if is_empty_in_sheet else suspect(text, can_fix=source.format != "jsonl")
        if finding is None:
            others = [
                (name, cell)
                for at, (name, cell) in enumerate(zip(source.columns, row.cells, strict=False))
                if at not in taken
            ]
            finding = other_column(which.role, text, others)
        if finding is not None:
            _note(found, Suspicion(row.number, row.line, ids[which.role].name, text, *finding))


def _is_header(row: Row, source: Source) -> bool:
    """Whether the header stands there once more, where a row should be."""
    cells = [visible(cell) for cell in row.cells]
    return source.format != "jsonl" and cells == [visible(name) for name in source.columns]


def _look_into(row: Row | None, source: Source, found: TextIO) -> None:
    """Note whether a row of several lines has swallowed others."""
    if row is None or source.format != "csv":
        return
    opportunity, contact = ((source.ids[which.role].number or 1) - 1 for which in (OPPORTUNITY, CONTACT))
    for at, cell in enumerate(row.cells):
        finding = swallowed(cell, source.dialect.delimiter, (opportunity, contact))
        if finding is not None:
            column = source.columns[at] if at < len(source.columns) else ""
            _note(found, Suspicion(row.number, row.line, column, *finding))


def _note(found: TextIO, suspicion: Suspicion) -> None:
    found.write(f"{json.dumps(astuple(suspicion))}\n")


def _text(row: Row, reason: str, source: Source) -> str:
    """The cell that is at fault, or all of them if it is the row."""
    if not row.fault:
        cell = row.opportunity if reason.startswith(OPPORTUNITY.name) else row.contact
        return cell or ""
    delimiter = source.dialect.delimiter
    return delimiter.join(row.cells).rstrip(delimiter)
