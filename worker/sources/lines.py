"""Bytes to text to numbered physical lines, in blocks. Knows nothing of CSV or JSON.

A line ends at LF, CR or CRLF and nowhere else (``str.splitlines`` would also split at U+2028 and friends),
and keeps its ending, for a quoted cell may contain it.
"""

import codecs
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from worker.errors import InputError
from worker.sources.foreign import LONGEST_MARK, foreign_bytes, foreign_text, utf16_without_mark
from worker.sources.opening import CHUNK, BrokenInputError

MAX_LINE = 1024 * 1024
"""Characters of a physical line that are held; the rest of a longer one is skipped unread."""

_KEPT_OF_LONG_LINE = 500

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


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


class Text(NamedTuple):
    """The lines of an input.

    Attributes:
        first: beginning with the first line that is not blank.
        blocks: all after it.
        encoding: ``utf-8``, ``utf-16-le`` or ``utf-16-be``.
        bom: whether the bytes began with a byte order mark.
    """

    first: Block
    blocks: Iterator[Block]
    encoding: str
    bom: bool


def beginning(chunks: Iterator[bytes], label: str) -> bytes:
    """So many of the decompressed bytes as tell what they are; fewer only if there are no more.

    Raises:
        InputError: the input breaks off there.
    """
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= LONGEST_MARK:
                break
    except BrokenInputError as error:
        raise InputError(f"{label} {error}") from error
    return head


def read_text(head: bytes, chunks: Iterator[bytes], label: str, *, guess: bool = False) -> Text:
    """Lines of the decompressed bytes, of which ``head`` is the beginning.

    Args:
        head: the beginning.
        chunks: what comes after it.
        label: how messages call it.
        guess: UTF-16 without a byte order mark is read as such, too.

    Raises:
        InputError: at once, if there is nothing to read or it is not text; later, if the input breaks off.
    """
    reason = foreign_bytes(head, label)
    if reason is not None:
        raise InputError(f"{label} {reason}")
    bom, encoding = next((known for known in _BOMS if head.startswith(known[0])), (b"", "utf-8"))
    if guess and not bom:
        encoding = utf16_without_mark(head) or encoding
    blocks = skip_blank(_blocks(_decoded(chain((head[len(bom) :],), chunks), encoding), label), label)
    first = next(blocks)
    return Text(first, blocks, encoding, bool(bom))


def line_end(lines: Sequence[str]) -> str:
    """How the first record ends: a quoted cell in it may hold line ends of another kind."""
    quotes = 0
    for line in lines:
        quotes += line.count('"')
        if quotes % 2 == 0:
            return line[len(line.rstrip("\r\n")) :] or "\n"
    return "\n"


def skip_blank(blocks: Iterator[Block], label: str) -> Iterator[Block]:
    """The same blocks without the blank lines before the first other one.

    Raises:
        InputError: all lines are blank, or the first one that is not shows that this is no CSV or JSONL.
    """
    for block in blocks:
        for at, line in enumerate(block.lines):
            if line.isspace():
                continue
            reason = foreign_text(line)
            if reason is not None:
                raise InputError(f"{label} {reason}")
            rest = Block(block.line + at, block.lines[at:], block.overlong)
            return chain((rest,), blocks)
    raise InputError(f"{label} is empty")


def _blocks(texts: Iterator[str], label: str) -> Iterator[Block]:
    line = 1
    held = ""  # the beginning of a line whose end has not come yet
    overlong = False  # held is a shortened line
    skipping = False  # and its end has not come yet
    try:
        for text in texts:
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


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    # A bad byte becomes a lone surrogate and spoils its own row at most, not the file. In UTF-16 a bad unit
    # shifts all that follow: no row after it can be trusted.
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    try:
        for chunk in chunks:
            for at in range(0, len(chunk), CHUNK):
                yield decoder.decode(chunk[at : at + CHUNK])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        yield error.object[: error.start].decode(encoding)
        raise BrokenInputError("is not valid UTF-16") from error
