"""Tell what a file is that is no CSV and no JSONL, in words that say what to do about it. Pure."""

import re
from pathlib import PurePath

_OLD_EXCEL = "is an old Excel workbook (.xls); save it as CSV"
_SHEET = "open it in a spreadsheet and save it as CSV"
_PACKED = "use gzip or zstd, or unpack it"
_UNPACK = "unpack it first"
_ZIPPED = f"is a zip archive; {_UNPACK}"

_LOCKED = "is an Excel workbook with a password; save it without one, or as CSV"
_HELD_OPEN = "is the note that Excel leaves beside a workbook that is open; name the workbook itself"

_OLE = b"\xd0\xcf\x11\xe0"
"""Of old workbooks, and of the box that a new one with a password is put into."""

_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")

_MARKS = (
    (_OLE, _OLD_EXCEL),
    *(
        (mark, _OLD_EXCEL)
        for mark in (b"\t\0\4\0", b"\t\2\6\0", b"\t\4\6\0", b"\t\x08\x08\0", b"\t\x08\x10\0")
    ),
    (b"%PDF", "is a PDF, not a CSV or JSONL file"),
    (b"BZh", f"is compressed with bzip2; {_PACKED}"),
    (b"\xfd7zXZ", f"is compressed with xz; {_PACKED}"),
    (b"\x04\x22\x4d\x18", f"is compressed with lz4; {_PACKED}"),
    (b"7z\xbc\xaf", f"is a 7z archive; {_UNPACK}"),
    (b"Rar!", f"is a rar archive; {_UNPACK}"),
    (b"SQLite format 3", "is an SQLite database; export the table as CSV"),
    (b"PAR1", "is a Parquet file; export it as CSV"),
    (b"{\\rtf", "is an RTF document; save it as CSV"),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ZIP_NAME = 30
"""Where the name of the first file begins in a zip archive; its length stands four bytes before."""

_WORKBOOK = (b"[Content_Types].xml", b"_rels/", b"xl/", b"docProps/")
_WORKBOOK_NAMES = (".xlsx", ".xlsm")
_TAR = (257, b"ustar")

LONGEST_MARK = 5
"""Bytes to wait for; a longer mark is looked for in what comes with them."""

_HTML = re.compile(r"\s*<(?:!doctype\s+html|html|head|body|table|meta|style|div)\b", re.IGNORECASE)
_XML = re.compile(r"\s*<\?xml\b")
_ARRAY = re.compile(r"\s*\[\s*(?:[\[{]|$)")
_OBJECT = re.compile(r'\s*\{\s*(?:$|(?="))')
_NUL_SHARE = 0.4


def is_workbook(head: bytes, name: str) -> bool:
    """Whether a file is an Excel workbook (.xlsx), by its first bytes and its name."""
    if not head.startswith(_ZIP):
        return False
    return name.lower().endswith(_WORKBOOK_NAMES) or _first_name(head).startswith(_WORKBOOK)


def foreign_bytes(head: bytes, name: str) -> str | None:
    """What a file is that is no workbook, by its first bytes (and its name, where they leave it open).

    None if it may be text.
    """
    if PurePath(name).name.startswith("~$"):
        return _HELD_OPEN
    if head.startswith(_OLE) and (_ENCRYPTED in head or name.lower().endswith(_WORKBOOK_NAMES)):
        return _LOCKED
    if head.startswith(_ZIP):
        return "is an OpenDocument file; save it as CSV" if _first_name(head) == b"mimetype" else _ZIPPED
    at, mark = _TAR
    if head[at:].startswith(mark):
        return f"is a tar archive; {_UNPACK}"
    return next((reason for start, reason in _MARKS if head.startswith(start)), None)


def utf16_without_mark(head: bytes) -> str:
    """The kind of UTF-16 that a text seems to be in, by its first bytes; empty if it is none.

    In plain text every other byte is a NUL.
    """
    for encoding, at in (("utf-16-le", 1), ("utf-16-be", 0)):
        others = head[at::2]
        if others and others.count(0) >= 2 * _NUL_SHARE * len(others) and not head[1 - at :: 2].count(0):
            return encoding
    return ""


def foreign_text(line: str) -> str | None:
    """What a text is, by its first line that is not blank; None if it may be CSV or JSONL."""
    if "\0" in line:
        # In UTF-16 every other byte of plain text is a NUL.
        if line.count("\0") >= _NUL_SHARE * len(line):
            return "is UTF-16 without a byte order mark; save it as UTF-8"
        return "is binary, not text"
    if _HTML.match(line):
        return f"is an HTML page, whatever its name says; {_SHEET}"
    if _XML.match(line):
        return f"is XML; {_SHEET}"
    return None


def foreign_json(line: str, *, named: bool) -> str | None:
    """Which JSON a text is, by its first line; None if it may be an object a line, or is no JSON.

    Args:
        line: the first line that is not blank, and no whole object.
        named: it is called JSONL, so a beginning of an object is only a torn line.
    """
    if _ARRAY.match(line):
        return "looks like a JSON array; write one object a line, named .jsonl (jq -c '.[]' does)"
    if _OBJECT.fullmatch(line) or (_OBJECT.match(line) and not named):
        return "looks like JSON, but not like one object a line; write it so, named .jsonl (jq -c does)"
    return None


def _first_name(head: bytes) -> bytes:
    """The name of the first file in a zip archive, as far as ``head`` has it."""
    length = int.from_bytes(head[_ZIP_NAME - 4 : _ZIP_NAME - 2], "little")
    return head[_ZIP_NAME : _ZIP_NAME + length]
