"""The bytes of an input: opened, hashed as they stand on disk, decompressed. Knows nothing of text.

Compression is recognised by its first bytes, not by the name, so that it works on standard input too.
"""

import hashlib
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import PurePath
from typing import BinaryIO, Protocol, TypeAlias

import zstandard

from worker.errors import InputError

CHUNK = 32 * 1024
"""Bytes read, and characters split, at a time. It also bounds what a reader must look through twice."""

_STEP = 512
"""Compressed bytes fed at a time: 512 bytes of zstd can claim 16 MiB, 32 KiB could claim a gigabyte."""

_MAX_WINDOW = 2**27
"""What the zstd command accepts by default; a larger window is a claim on our memory."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after one byte 0x50-0x5f; pzstd opens its files with such a frame


_Stand: TypeAlias = tuple[int, int]
"""Size and time of the last change."""


class BrokenInputError(Exception):
    """The bytes stop making sense here; the message says why, the reader of lines says where."""


class _Unpacker(Protocol):
    """What zlib and zstandard have in common. Neither tells a truncated end from a real one by itself."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class RawInput:
    """An open file or standard input.

    Attributes:
        name: base name of the path; ``-`` for what can be read once only, standard input or a pipe.
        label: how messages call it; never more than one line.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, path: str, stdin: BinaryIO | None) -> None:
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._stands: _Stand | None = None
        if path == "-":
            self.name, self.label = "-", "standard input"
            source = stdin or (sys.stdin and sys.stdin.buffer)
            if not source:
                raise InputError("standard input is closed")
            # A plain read() would wait for a full chunk while the first lines of a slow pipe lie ready.
            self._read: Callable[[int], bytes] = getattr(source, "read1", source.read)
        else:
            self.name, self.label = PurePath(path).name, path if path and path.isprintable() else repr(path)
            self._file = _open(path, self.label)
            self._read = self._file.read
            self._stands = _stand(self._file)
            if self._stands is None:
                self.name = "-"

    def chunks(self) -> Iterator[bytes]:
        """The decompressed bytes, in pieces of no particular size.

        Raises:
            BrokenInputError: the data is cut short, corrupt or cannot be read further.
        """
        packed = self._packed()
        head = b""
        for piece in packed:
            head += piece
            if len(head) >= len(_ZSTD):
                break
        pieces: Iterator[bytes] = chain((head,), packed)
        if head.startswith(_GZIP):
            pieces = _gathered(_unpacked(pieces, partial(zlib.decompressobj, wbits=31), "gzip"))
        elif head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] & 0xF0 == 0x50):  # noqa: PLR2004 - the nibble of the format
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
            pieces = _gathered(_unpacked(pieces, reader.decompressobj, "zstd"))
        yield from pieces

    def digest(self) -> str:
        """SHA-256, in hex, of the raw bytes read so far."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file; standard input is not ours to close."""
        if self._file is not None:
            self._file.close()

    def _packed(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._read(CHUNK)
            except OSError as error:
                raise BrokenInputError(f"cannot be read: {error.strerror or error}") from error
            if not chunk:
                if self._file is not None and _stand(self._file) != self._stands:
                    raise BrokenInputError("was changed while it was read: is it still being written?")
                return
            self._hash.update(chunk)
            yield chunk


def _open(path: str, label: str) -> BinaryIO:
    """Open unbuffered: we read whole chunks, and a pipe must hand over what it has."""
    try:
        return open(path, "rb", buffering=0)  # noqa: PTH123 - /dev/fd/N is no Path; RawInput closes it
    except FileNotFoundError as error:
        raise InputError(f"{label} does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"{label} is a directory, not a file") from error
    except PermissionError as error:
        raise InputError(f"{label} may not be read: permission denied") from error
    except (OSError, ValueError) as error:
        # ValueError: a NUL in the path.
        raise InputError(f"{label} cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def _stand(file: BinaryIO) -> _Stand | None:
    """How a file stands just now; None for a pipe, or whatever else can be read once only."""
    found = os.fstat(file.fileno())
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks worth decoding, up to where they break off."""
    ready: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            ready.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield b"".join(ready)
                ready, size = [], 0
    except BrokenInputError:
        yield b"".join(ready)
        raise
    yield b"".join(ready)


def _unpacked(packed: Iterator[bytes], new: Callable[[], _Unpacker], kind: str) -> Iterator[bytes]:
    """Decompress member after member (frame after frame), in small pieces."""
    unpacker: _Unpacker | None = None
    for chunk in packed:
        for at in range(0, len(chunk), _STEP):
            piece = chunk[at : at + _STEP]
            while piece:
                if unpacker is None:
                    # Tapes and some archivers pad a finished member with zeros.
                    piece = piece.lstrip(b"\0")
                    if not piece:
                        break
                    unpacker = new()
                try:
                    data = unpacker.decompress(piece)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise BrokenInputError(f"has corrupt {kind} data") from error
                yield data
                piece = b""
                if unpacker.eof:
                    piece, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise BrokenInputError(f"is cut short: its {kind} data has no end")
