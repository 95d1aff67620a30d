"""Bytes to text to numbered physical lines, in blocks. Knows nothing of CSV or JSON.

A line ends at LF, CR or CRLF and nowhere else (``str.splitlines`` would also split at U+2028 and friends),
and keeps its ending, for a quoted cell may contain it.
"""

import codecs
import io
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from worker.errors import InputError
from worker.sources.opening import CHUNK, BrokenInputError

MAX_LINE = 1024 * 1024
"""Characters of a physical line that are held; the rest of a longer one is skipped unread."""

_KEPT_OF_LONG_LINE = 500

_FOREIGN = (
    (b"PK\x03\x04", "looks like an Excel workbook; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "looks like an Excel workbook; save it as CSV"),
    (b"%PDF", "looks like a PDF, not a CSV or JSONL file"),
    (b"BZh9", "is compressed with bzip2; use gzip or zstd, or unpack it"),
    (b"\xfd7zXZ", "is compressed with xz; use gzip or zstd, or unpack it"),
)
_LONGEST_MARK = 5


class Block(NamedTuple):
    """Some consecutive lines.

    Attributes:
        line: number of the first one.
        lines: with their endings; a single one if it is longer than a chunk.
        overlong: the only line was longer than :data:`MAX_LINE`; only its beginning is here.
    """

    line: int
    lines: list[str]
    overlong: bool = False


def read_blocks(chunks: Iterator[bytes], label: str) -> Iterator[Block]:
    """Lines of the decompressed bytes, from the first line that is not blank.

    Raises:
        InputError: at once, if there is nothing to read or it is not text; later, if the input breaks off.
    """
    return skip_blank(_blocks(chunks, label), label)


def skip_blank(blocks: Iterator[Block], label: str) -> Iterator[Block]:
    """The same blocks without the blank lines before the first other one.

    Raises:
        InputError: all lines are blank, or the first one that is not holds NULs.
    """
    for block in blocks:
        for at, line in enumerate(block.lines):
            if line.isspace():
                continue
            if "\0" in line:
                raise InputError(f"{label} is binary, or UTF-16 without a byte order mark; save it as UTF-8")
            rest = Block(block.line + at, block.lines[at:], block.overlong)
            return chain((rest,), blocks)
    raise InputError(f"{label} is empty")


def _blocks(chunks: Iterator[bytes], label: str) -> Iterator[Block]:
    line = 1
    held = ""  # the beginning of a line whose end has not come yet
    overlong = False  # held is a shortened line
    skipping = False  # and its end has not come yet
    try:
        for text in _decoded(chunks, label):
            if skipping:
                end = _first_break(text)
                if end < 0:
                    continue
                skipping = False
                held += text[end:]
            else:
                held += text
            # A CR at the very end may be half of a CRLF.
            end = max(held.rfind("\n"), held.rfind("\r", 0, len(held) - 1)) + 1
            if end:
                for block in _split(line, held[:end], overlong=overlong):
                    yield block
                    line = block.line + len(block.lines)
                held, overlong = held[end:], False
            if len(held) > MAX_LINE and not overlong:
                held, overlong, skipping = held[:_KEPT_OF_LONG_LINE], True, True
    except BrokenInputError as error:
        # The unfinished line is dropped: half an id is still a valid id, of something else.
        raise InputError(f"{label} {error}" + (f" (after line {line - 1})" if line > 1 else "")) from error
    if held:
        yield from _split(line, held, overlong=overlong)


def _split(line: int, text: str, *, overlong: bool) -> Iterator[Block]:
    lines = list(io.StringIO(text, newline=""))
    # Only the first line can have begun in an earlier chunk. If it did and is long, it goes alone, so that
    # whoever looks ahead from short lines before or behind it never has to look through it again and again.
    if overlong or len(text) > 2 * CHUNK:
        yield Block(line, lines[:1], overlong or len(lines[0]) > MAX_LINE)
        line, lines = line + 1, lines[1:]
    if lines:
        yield Block(line, lines)


def _first_break(text: str) -> int:
    return min((at for at in (text.find("\n"), text.find("\r")) if at >= 0), default=-1)


def _decoded(chunks: Iterator[bytes], label: str) -> Iterator[str]:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _LONGEST_MARK:
            break
    for mark, reason in _FOREIGN:
        if head.startswith(mark):
            raise InputError(f"{label} {reason}")
    # A bad byte becomes a lone surrogate and spoils its own row at most, not the file.
    encoding, errors, skip = "utf-8", "surrogateescape", 0
    if head.startswith(codecs.BOM_UTF8):
        skip = len(codecs.BOM_UTF8)
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # Here a bad unit shifts all that follow: no row after it can be trusted.
        encoding = "utf-16-le" if head.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
        errors, skip = "strict", len(codecs.BOM_UTF16)
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    try:
        for chunk in chain((head[skip:],), chunks):
            for at in range(0, len(chunk), CHUNK):
                yield decoder.decode(chunk[at : at + CHUNK])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        yield error.object[: error.start].decode(encoding)
        raise BrokenInputError("is not valid UTF-16") from error
