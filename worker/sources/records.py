"""Assemble physical lines into CSV records; one that cannot be read costs one line, never the rest.

The C reader does the work. When it fails, the line where the record started is given up and reading goes on
with the next one, so a stray quote must not be followed to the end of the file: a record of several lines may
span :data:`MAX_SPAN` characters. That bounds both the memory and the lines read twice.
"""

import csv
from collections.abc import Iterator
from itertools import chain
from typing import TypeAlias

from worker.sources.base import FAULT_LONG_LINE, FAULT_TEXT_LENGTH
from worker.sources.lines import Block
from worker.sources.opening import CHUNK

MAX_SPAN = CHUNK

FAULT_OPEN_QUOTE = "unclosed quote"
FAULT_AFTER_QUOTE = "text after a closing quote"
FAULT_LONG_CELL = "cell too long"


Record: TypeAlias = tuple[int, list[str], str]
"""The line where it starts; its cells, or of a faulty one the beginning of its first line; the fault.

A bare tuple, because making a named one takes as long as reading the record.
"""


def read_records(blocks: Iterator[Block], delimiter: str) -> Iterator[Record]:
    """All records that are not blank lines, in order."""
    return chain.from_iterable(_batches(blocks, delimiter))


def _batches(blocks: Iterator[Block], delimiter: str) -> Iterator[list[Record]]:
    line = 1
    open_lines: list[str] = []  # of a record that the last block did not finish; at most MAX_SPAN characters
    for block in blocks:
        if not open_lines:
            line = block.line
        elif len(block.lines[0]) > MAX_SPAN:
            # The record cannot go through this line and stay in bounds.
            yield _parse(open_lines, line, delimiter, last=True)[0]
            line, open_lines = block.line, []
        if block.overlong:
            yield [_faulty(line, block.lines[0], FAULT_LONG_LINE)]
            continue
        lines = open_lines + block.lines
        records, open_lines = _parse(lines, line, delimiter, last=False)
        yield records
        line += len(lines) - len(open_lines)
    yield _parse(open_lines, line, delimiter, last=True)[0]


def _parse(lines: list[str], line: int, delimiter: str, *, last: bool) -> tuple[list[Record], list[str]]:
    """All records, and unless these are the last lines, those of an unfinished one."""
    records: list[Record] = []
    start = 0
    while start < len(lines):
        reader = csv.reader(lines[start:], delimiter=delimiter, strict=True)
        first = line + start
        done = 0
        fault = ""
        try:
            for cells in reader:
                end = reader.line_num
                if end - done > 1 and _span(lines[start + done : start + end]) > MAX_SPAN:
                    fault = FAULT_OPEN_QUOTE
                    break
                if len(cells) > 1 or (cells and not lines[start + done].isspace()):
                    records.append((first + done, cells, ""))
                done = end
            else:
                break
        except csv.Error as error:
            fault = _judge(str(error), lines=reader.line_num - done)
            unfinished = lines[start + done :]
            if not last and "unexpected end" in str(error) and _span(unfinished) <= MAX_SPAN:
                return records, unfinished
        start += done
        records.append(_faulty(line + start, lines[start], fault))
        start += 1
    return records, []


def _judge(error: str, *, lines: int) -> str:
    """Name the cause. A quote that goes wrong only lines later was most likely a stray one at the start."""
    if lines > 1 or "unexpected end" in error:
        return FAULT_OPEN_QUOTE
    return FAULT_LONG_CELL if "field limit" in error else FAULT_AFTER_QUOTE


def _span(lines: list[str]) -> int:
    return sum(map(len, lines))


def _faulty(line: int, text: str, fault: str) -> Record:
    return line, [text.rstrip("\r\n")[:FAULT_TEXT_LENGTH]], fault
