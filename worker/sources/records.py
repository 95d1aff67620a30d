"""Assemble physical lines into CSV records; one that cannot be read costs one line, never the rest.

The C reader does the work. When it fails, the line where the record started is given up and reading goes on
with the next one, so a stray quote must not be followed to the end of the file: a record of several lines may
span :data:`MAX_SPAN` characters. That bounds both the memory and the lines read twice.
"""

import csv
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from worker.sources.base import FAULT_LONG_LINE, FAULT_TEXT_LENGTH
from worker.sources.lines import MAX_LINE, Block
from worker.sources.opening import CHUNK

MAX_SPAN = CHUNK
SHORT_SPAN = 2 * 1024
STRAY_QUOTES = 1000
"""After so many unclosed quotes, quotes do not quote in this file: look :data:`SHORT_SPAN` ahead and no more.

Without it a file of nothing but stray quotes would take most of a millisecond per line.
"""

FAULT_OPEN_QUOTE = "unclosed quote"
FAULT_AFTER_QUOTE = "text after a closing quote"

# A cell may be as long as a line; the limit that Python comes with is for all readers of the process.
csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))

Record: TypeAlias = tuple[int, list[str], str]
"""The line where it starts; its cells, or of a faulty one the beginning of its first line; the fault.

A bare tuple, because making a named one takes as long as reading the record.
"""


class Records:
    """Makes stretches of records, each of which must be read to its end before the next is asked for.

    The chain in :meth:`read` does so, in C: a generator around each record would cost as much as
    reading it, and lists of records would wake the garbage collector.

    Args:
        delimiter: between cells.
        whole: nothing is left out: blank lines are records without cells, and of a faulty line all is kept
            that is held of it.

    Attributes:
        blank: lines without any text so far.
    """

    def __init__(self, delimiter: str, *, whole: bool = False) -> None:
        self.blank = 0
        self._whole = whole
        self._kept = MAX_LINE if whole else FAULT_TEXT_LENGTH
        self._delimiter = delimiter
        self._stray = 0  # unclosed quotes so far
        self._read = 0  # lines of the whole records in the last stretch
        self._error = ""  # why it ended before its lines did

    def read(self, blocks: Iterator[Block]) -> Iterator[Record]:
        """All records that are not blank lines, in order."""
        return chain.from_iterable(self._stretches(blocks))

    def _stretches(self, blocks: Iterator[Block]) -> Iterator[Iterable[Record]]:
        line = 1
        open_lines: list[
            str
        ] = []  # of a record that the last block did not finish; at most MAX_SPAN characters
        for block in blocks:
            if not open_lines:
                line = block.line
            elif block.overlong or len(block.lines[0]) > MAX_SPAN:
                # The record cannot go through this line and stay in bounds.
                yield from self._parse(open_lines, line, last=True)
                line, open_lines = block.line, []
            if block.overlong:
                yield (self._faulty(line, block.lines[0], FAULT_LONG_LINE),)
                continue
            lines = open_lines + block.lines
            open_lines = yield from self._parse(lines, line, last=False)
            line += len(lines) - len(open_lines)
        yield from self._parse(open_lines, line, last=True)

    def _parse(
        self, lines: list[str], line: int, *, last: bool
    ) -> Generator[Iterable[Record], None, list[str]]:
        """All records; unless these are the last lines, return those of an unfinished one."""
        start = 0
        while start < len(lines):
            bound = MAX_SPAN if self._stray < STRAY_QUOTES else SHORT_SPAN
            window = lines[start:] if bound == MAX_SPAN else _head(lines, start, bound)
            yield self._stretch(window, line + start, bound)
            start += self._read
            error = self._error
            if not error:
                continue
            rest = window[self._read :]
            if error == _UNFINISHED:
                if _span(rest) <= bound:
                    if start + len(rest) < len(lines):
                        continue  # the window was too short, not the file
                    if not last:
                        return rest
                error = FAULT_OPEN_QUOTE
            self._stray += error == FAULT_OPEN_QUOTE
            yield (self._faulty(line + start, lines[start], error),)
            start += 1
        return []

    def _stretch(self, lines: list[str], line: int, bound: int) -> Iterator[Record]:
        """The records up to the first that fails."""
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        done = 0
        self._error = ""
        try:
            for cells in reader:
                end = reader.line_num
                if end - done > 1 and _span(lines[done:end]) > bound:
                    self._error = FAULT_OPEN_QUOTE
                    break
                if len(cells) > 1 or (cells and not lines[done].isspace()):
                    yield line + done, cells, ""
                else:
                    self.blank += 1
                    if self._whole:
                        yield line + done, [], ""
                done = end
        except csv.Error as error:
            self._error = _judge(str(error), lines=reader.line_num - done)
        self._read = done

    def _faulty(self, line: int, text: str, fault: str) -> Record:
        return line, [text.rstrip("\r\n")[: self._kept]], fault


_UNFINISHED = "unfinished"


def _judge(error: str, *, lines: int) -> str:
    """Name the cause. A quote that goes wrong only lines later was most likely a stray one at the start."""
    if "unexpected end" in error:
        return _UNFINISHED
    return FAULT_OPEN_QUOTE if lines > 1 else FAULT_AFTER_QUOTE


def _head(lines: list[str], start: int, size: int) -> list[str]:
    """Lines until they are longer than ``size`` together, or all."""
    end, span = start, 0
    while end < len(lines) and span <= size:
        span += len(lines[end])
        end += 1
    return lines[start:end]


def _span(lines: list[str]) -> int:
    return sum(map(len, lines))
