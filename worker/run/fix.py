"""Write a mended copy of an input, and beside it what was changed in it.

A row goes over whole or as it is: if not both of its ids can be mended, neither is, and it stays invalid,
with its text. What is dropped has no text, or is no row; each is in the list of changes, at its line.
"""

import csv
import io
import shlex
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from worker.doctor import mended, recoded, visible
from worker.errors import InputError, UsageError, WorkerError
from worker.judge import key_of
from worker.models import Row
from worker.settings import Settings
from worker.sinks import LineEnds, defused, replaced
from worker.sources import (
    DELIMITERS,
    FAULT_LONG_LINE,
    OPPORTUNITY,
    RoughTable,
    contradiction,
    differing,
    fault_of_shape,
    guess_delimiter,
)

if TYPE_CHECKING:
    from _csv import Writer

FIXES = "fixes.csv"
COLUMNS = ("line", "column", "before", "after", "rule")

CODE_PAGES = ("cp1252", "cp1251")
ALSO = (*CODE_PAGES, "thousands", "duplicates")
"""What is mended if it is asked for by name, for another reading of it is possible."""

LEFT = "left"
"""Begins the rule of a row that is copied as it is, and is no pair; its reason follows."""

_KEPT = "the input is as it was; make room, or name another file"
_LINE_ENDS = {"\r\n": "CRLF", "\r": "CR"}


@dataclass(slots=True)
class FixResult:
    """What came of it.

    Attributes:
        name: of the input.
        output: where the mended copy is.
        fixes: where the list of changes is.
        rows: of the input; they are the rows of the copy, and the duplicates that were dropped.
        mended: rows of which a cell was changed.
        left: rows that are no pair, and are copied as they are.
        not_text: cells with bytes that are no UTF-8.
        rules: how often each was applied; also to what is no row.
    """

    name: str
    output: Path
    fixes: Path
    rows: int = 0
    mended: int = 0
    left: int = 0
    not_text: int = 0
    rules: Counter[str] = field(default_factory=Counter)


def fix(input_path: str, output: str, settings: Settings, also: frozenset[str]) -> FixResult:
    """Mend an input.

    Args:
        input_path: path of the input; ``-`` is standard input.
        output: path of the mended copy, a CSV file in UTF-8 with the delimiter of the input.
        settings: which columns, delimiter and sheet.
        also: which of :data:`ALSO` to mend, too.

    Raises:
        UsageError: the copy would take the place of something else.
        InputError: the input cannot be read to its end; nothing is written.
        OutputError: the copy cannot be written; nothing is.
    """
    copy = Path(output)
    _refuse_place(input_path, copy)
    fixes = copy.with_name(FIXES)
    with (
        RoughTable(
            input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
        ) as table,
        # The list first: a copy without it would not be told from the input.
        replaced(copy, kept=_KEPT) as file,
        replaced(fixes, kept=_KEPT) as listed,
        closing(_Seen()) as seen,
    ):
        result = FixResult(table.name, copy, fixes)
        changes = _Changes(csv.writer(listed, lineterminator="\n"), result)
        delimiter = table.dialect.delimiter if settings.delimiter else _delimiter(table)
        # Before Python 3.13 csv quotes a lone CR only where the line terminator has one.
        writer = csv.writer(LineEnds(file, "\n"), delimiter=delimiter, lineterminator="\r\n")
        _Copying(table, result, changes, writer, seen, also=also).copy()
    return result


def way_out(input_path: str, settings: Settings) -> str:
    """What would make an input readable that is not as it stands; empty if nothing here does."""
    if not Path(input_path).is_file():
        return ""
    try:
        with RoughTable(
            input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
        ) as table:
            where = f"its header is in line {table.line}" if table.header else "it has no header"
            return f"{where}: bulklink check {shlex.quote(input_path)} --fix OUT.csv mends that"
    except WorkerError:
        return ""


def parse_also(text: str | None) -> frozenset[str]:
    """Read the option: names of :data:`ALSO` with commas between.

    Raises:
        UsageError: there is another, or two code pages.
    """
    names = frozenset(filter(None, (name.strip() for name in (text or "").split(","))))
    for name in sorted(names - {*ALSO}):
        raise UsageError(f"--fix-also: {name!r} is none of {', '.join(ALSO)}")
    if names >= {*CODE_PAGES}:
        raise UsageError(f"--fix-also: one code page, not both {' and '.join(CODE_PAGES)}")
    return names


def _refuse_place(input_path: str, output: Path) -> None:
    if output.suffix.lower() != ".csv":
        raise UsageError(f"--fix writes CSV: {str(output)!r} does not end in .csv")
    if output.name.lower() == FIXES:
        raise UsageError(f"--fix: {FIXES} is where the changes are listed; give another name")
    if input_path == "-":
        return
    source = Path(input_path)
    for path in (output, output.with_name(FIXES)):
        if path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"--fix: {path} is the input itself; give another name")


class _Changes:
    """Lists what is changed."""

    def __init__(self, writer: "Writer", result: FixResult) -> None:
        self._writer = writer
        self._result = result
        writer.writerow(COLUMNS)

    def note(self, line: int, column: str, before: str, after: str, rule: str) -> None:
        self._writer.writerow((line, *map(defused, (column, before, after)), rule))
        self._result.rules[rule.partition(":")[0]] += 1


class _Seen:
    """Pairs that were there before, on disk: there may be tens of millions."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("")
        self._base.execute("CREATE TABLE seen (pair INTEGER PRIMARY KEY)")

    def is_new(self, pair: int) -> bool:
        return self._base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (pair,)).rowcount == 1

    def close(self) -> None:
        self._base.close()


class _Copying:
    """One copy, from the top of the input on."""

    def __init__(
        self,
        table: RoughTable,
        result: FixResult,
        changes: _Changes,
        writer: "Writer",
        seen: _Seen,
        *,
        also: frozenset[str],
    ) -> None:
        self._table = table
        self._layout = table.layout
        self._width = max(table.layout.width, len(table.found))
        self._ids = (table.layout.opportunity, table.layout.contact)
        self._names: Sequence[str] = table.header or table.layout.names
        self._result = result
        self._note = changes.note
        self._write = writer.writerow
        self._seen = seen
        self._thousands = "thousands" in also
        self._drops_duplicates = "duplicates" in also
        self._code_page = next((name for name in CODE_PAGES if name in also), "")

    def copy(self) -> None:
        """Write all of it."""
        self._top()
        for line, cells, fault in self._table.records:
            if fault == FAULT_LONG_LINE:
                raise InputError(f"{self._table.label}: {fault}: line {line}; nothing was written")
            if fault:
                # In a cell of its own, in quotes: as it stood it could swallow the rows below it.
                self._result.rows += 1
                self._leave(line, "", cells[0], fault, self._recoded(line, cells))
            elif not any(map(str.strip, cells)):
                self._note(line, "", self._joined(cells), "", "blank")
            elif self._table.header and list(map(visible, cells)) == self._table.header:
                self._note(line, "", self._joined(cells), "", "header_again")
            else:
                self._result.rows += 1
                self._row(line, cells)

    def _top(self) -> None:
        dialect, table = self._table.dialect, self._table
        if dialect.bom:
            self._note(1, "", "a byte order mark", "", "bom")
        if dialect.encoding != "utf-8":
            self._note(1, "", "UTF-16", "UTF-8", "encoding")
        if dialect.line_end in _LINE_ENDS:
            self._note(1, "", _LINE_ENDS[dialect.line_end], "LF", "line_ends")
        for line, text, rule in table.before:
            self._note(line, "", text, "", rule)
        if table.header:
            for was, name in zip(table.found, table.header, strict=True):
                if was != name:
                    self._note(table.line, name, was, name, "invisible")
            self._write(self._recoded(table.line, table.header))

    def _row(self, line: int, cells: list[str]) -> None:
        before = self._result.rules.total()
        if len(cells) > self._width and not any(map(str.strip, cells[self._width :])):
            kept = cells[: self._width]
            self._note(line, "", self._joined(cells), self._joined(kept), "empty_cells")
            cells = kept
        if not all(map(str.isascii, cells)):
            cells = self._recoded(line, cells)
        fault = fault_of_shape(cells, self._layout)
        if not fault and (found := contradiction(cells, self._layout)):
            fault = differing(found, self._names)
        if fault:
            self._leave(line, "", self._joined(cells), fault, cells)
            return
        after = list(cells)
        rules: dict[int, tuple[str, ...]] = {}
        for at in self._ids:
            after[at], rules[at] = mended(cells[at], thousands=self._thousands)
        opportunity, contact = self._ids
        key = key_of(Row(0, line, (), after[opportunity], after[contact]))
        if isinstance(key, str):
            at = opportunity if key.startswith(OPPORTUNITY.name) else contact
            self._leave(line, self._names[at], cells[at], key, cells)
            return
        if self._drops_duplicates and not self._seen.is_new(key):
            self._note(line, "", self._joined(cells), "", "duplicate")
            return
        for at, applied in rules.items():
            if applied:
                self._note(line, self._names[at], cells[at], after[at], "+".join(applied))
        self._write(after)
        self._result.mended += self._result.rules.total() > before

    def _leave(self, line: int, column: str, text: str, reason: str, cells: Sequence[str]) -> None:
        self._result.left += 1
        self._note(line, column, text, text, f"{LEFT}: {reason}")
        self._write(cells)

    def _recoded(self, line: int, cells: list[str]) -> list[str]:
        """The cells, with those that are no UTF-8 read in the code page that was named."""
        after = list(cells)
        for at, cell in enumerate(cells):
            if cell.isascii() or not any("\udc80" <= one <= "\udcff" for one in cell):
                continue
            text: str | None = recoded(cell, self._code_page) if self._code_page else None
            if text is None:
                self._result.not_text += 1
            else:
                after[at] = text
                column = self._names[at] if at < len(self._names) else ""
                self._note(line, column, cell, text, self._code_page)
        return after

    def _joined(self, cells: Sequence[str]) -> str:
        return self._table.dialect.delimiter.join(cells)


def _delimiter(table: RoughTable) -> str:
    """That of the input, if the header shows it to whoever reads the copy without being told."""
    delimiter = table.dialect.delimiter
    one: str
    for one in (delimiter, *DELIMITERS):
        line = io.StringIO()
        csv.writer(line, delimiter=one).writerow(table.header or ["1", "2"])
        if guess_delimiter(line.getvalue()) == one:
            return one
    return delimiter
