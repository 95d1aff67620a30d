import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import zstandard

from worker.errors import InputError
from worker.models import Row
from worker.sources import Source, open_source

Compress = Callable[[bytes], bytes]


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "opportunity_id,contact_id\n")
    return file.getvalue()


def tarred(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


HEADER = b"opportunity_id,contact_id\n"


def rows_of(data: bytes) -> list[Row]:
    return list(from_stdin(data).rows())


def from_stdin(data: bytes) -> Source:
    return open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(data))


def drained(source: Source) -> tuple[list[Row], str]:
    """The rows up to the error, and the error."""
    rows: list[Row] = []
    try:
        for row in source.rows():
            rows.append(row)  # noqa: PERF402 - what came before the error is wanted
    except InputError as error:
        return rows, str(error)
    raise AssertionError("the input should break off")


def refusal(path: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        open_source(str(path), columns=None, delimiter=None)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.csv") == f"{tmp_path}/no.csv does not exist"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a directory, not a file"


def test_a_path_with_control_characters_stays_on_one_line() -> None:
    assert refusal("no\nsuch\x1b[31m.csv") == r"'no\nsuch\x1b[31m.csv' does not exist"
    assert "cannot be opened" in refusal("a\0b")


def test_a_forbidden_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by file mode: who runs the tests as root may read everything."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("worker.sources.opening.open", forbidden, raising=False)
    assert refusal("secret.csv") == "secret.csv may not be read: permission denied"


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(data)
    assert refusal(path) == f"{path} is empty"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (zipped("[Content_Types].xml"), "is an Excel workbook that is damaged"),
        (zipped("xl/workbook.xml"), "is an Excel workbook that is damaged"),
        (zipped("mimetype"), "is an OpenDocument file; save it as CSV"),
        (zipped("pairs.csv"), "is a zip archive; unpack it first"),
        (zipped(), "is a zip archive; unpack it first"),
        (tarred("pairs.csv"), "is a tar archive; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it first"),
        (b"Rar!\x1a\x07", "is a rar archive; unpack it first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an old Excel workbook (.xls); save it as CSV"),
        (b"\x09\x08\x10\x00\x00\x06\x05\x00", "is an old Excel workbook (.xls); save it as CSV"),
        (b"\n <!DOCTYPE html>\n<table>", "is an HTML page, whatever its name says; open it in a spreadsheet"),
        (b'\xef\xbb\xbf<html xmlns:x="urn:schemas">', "is an HTML page, whatever its name says"),
        (b"<TABLE><tr><td>opportunity_id</td>", "is an HTML page, whatever its name says"),
        (b'<?xml version="1.0"?>\n<Workbook>', "is XML; open it in a spreadsheet and save it as CSV"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"{\\rtf1\\ansi", "is an RTF document"),
        (b"SQLite format 3\0", "is an SQLite database; export the table as CSV"),
        (b"PAR1\x15\x04", "is a Parquet file"),
        (b"\x04\x22\x4d\x18\x64", "is compressed with lz4"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\xfd7zXZ\x00", "compressed with xz"),
        (b"a,\x00b\n1,2\n", "is binary, not text"),
        (
            "opportunity_id,contact_id\n".encode("utf-16-le"),
            "is UTF-16 without a byte order mark; save it as UTF-8",
        ),
        ("\n\nopportunity_id,contact_id\n".encode("utf-16-be"), "is UTF-16 without a byte order mark"),
        (b'[{"opportunity_id": 1}]', "looks like a JSON array; write one object a line, named .jsonl"),
        (b'[\n  {"opportunity_id": 1}\n]', "looks like a JSON array"),
        (b'{\n  "opportunity_id": 1\n}', "looks like JSON, but not like one object a line"),
        (b'{"pairs": [\n', "looks like JSON, but not like one object a line"),
        (b"\xff\xfea\x00\x00\xd8\x00\xd8", "is not valid UTF-16"),
        (b"\xff\xfea", "is not valid UTF-16"),
    ],
)
def test_what_is_no_text_is_refused_with_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    for name, stored in (("plain.csv", data), ("plain.xls", data), ("packed.csv.gz", gzip.compress(data))):
        path = tmp_path / name
        path.write_bytes(stored)
        message = refusal(path)
        assert message.startswith(str(path))
        assert reason in message


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.json", "pairs.csv", "-"])
@pytest.mark.parametrize("data", [b'[{"opportunity_id": 1}]', b"[\n", b"{\n"])
def test_json_that_is_not_one_object_a_line_is_refused_under_any_name(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    path = name if name == "-" else str(tmp_path / name)
    with pytest.raises(InputError, match=r"looks like (a )?JSON"):
        open_source(path, columns=None, delimiter=None, stdin=io.BytesIO(data))


@pytest.mark.parametrize("name", ["pairs.json", "pairs.txt", "pairs"])
def test_one_object_a_line_is_read_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"opportunity_id": 1, "contact_id": 2}\n{"opportunity_id": 3, "contact_id": 4}\n')
    with open_source(str(path), columns=None, delimiter=None) as source:
        assert [row.cells for row in source.rows()] == [("1", "2"), ("3", "4")]


def test_a_torn_first_line_of_a_jsonl_file_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'{"opportunity_id": 1,\n[1, 2]\n{"opportunity_id": 3, "contact_id": 4}\n')
    with open_source(str(path), columns=None, delimiter=None) as source:
        assert [row.fault for row in source.rows()] == ["not valid JSON", "not a JSON object", ""]


def test_names_in_brackets_are_no_json() -> None:
    columns = {"opportunity": "[deal]", "contact": "{contact}"}
    data = b"[deal],{contact}\n1,2\n"
    with open_source("-", columns=columns, delimiter=None, stdin=io.BytesIO(data)) as source:
        assert [row.cells for row in source.rows()] == [("1", "2")]


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert refusal("-") == "standard input is closed"


def test_standard_input_is_read_and_left_open() -> None:
    stdin = io.BytesIO(HEADER + b"1,2\n")
    with open_source("-", columns=None, delimiter=None, stdin=stdin) as source:
        assert [row.cells for row in source.rows()] == [("1", "2")]
    assert not stdin.closed


def test_a_slow_pipe_hands_over_its_rows_as_they_come() -> None:
    end, start = os.pipe()
    with os.fdopen(end, "rb") as stdin, os.fdopen(start, "wb", buffering=0) as writer:
        writer.write(HEADER + b"1,2\n3,4\n5")
        rows = open_source("-", columns=None, delimiter=None, stdin=stdin).rows()
        assert [next(rows).line, next(rows).line] == [2, 3]


def test_a_pipe_that_has_a_name_is_called_as_standard_input_is(tmp_path: Path) -> None:
    """It can be read once only, so no name says where its rows are to be found again."""
    path = tmp_path / "pairs.csv"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=(HEADER + b"1,2\n",))
    writer.start()
    with open_source(str(path), columns=None, delimiter=None) as source:
        assert source.name == "-"
        assert [row.cells for row in source.rows()] == [("1", "2")]
    writer.join()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_file_that_is_written_while_it_is_read_breaks_off_before_its_unfinished_line(
    tmp_path: Path, compress: Compress
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(compress(many(20_000)))
    with open_source(str(path), columns=None, delimiter=None) as source, path.open("ab") as file:
        file.write(compress(b"1,2\n3,4"))
        file.flush()
        rows, error = drained(source)
    assert rows[-1].cells == ("1", "2")
    assert error == f"{path} was changed while it was read: is it still being written? (after line 20002)"


def test_a_file_that_another_takes_the_place_of_is_read_to_its_end(tmp_path: Path) -> None:
    path, other = tmp_path / "pairs.csv", tmp_path / "new.csv"
    path.write_bytes(many(20_000))
    other.write_bytes(HEADER)
    with open_source(str(path), columns=None, delimiter=None) as source:
        other.replace(path)
        assert sum(1 for _ in source.rows()) == 20_000


def many(count: int) -> bytes:
    """Text that does not compress to nothing."""
    return HEADER + b"".join(b"%d,%d\n" % (number, zlib.crc32(b"%d" % number)) for number in range(count))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
class TestCompressed:
    def test_members_and_frames_are_read_one_after_the_other(self, compress: Compress) -> None:
        data = compress(HEADER + b"1,2\n3,") + compress(b"") + compress(b"4\n5,6\n") + bytes(1000)
        assert [row.cells for row in rows_of(data)] == [("1", "2"), ("3", "4"), ("5", "6")]

    def test_cut_short_the_rows_before_stay_valid_and_the_reason_names_the_line(
        self, compress: Compress
    ) -> None:
        rows, error = drained(from_stdin(compress(many(50_000))[:-5000]))
        line = re.fullmatch(r"standard input is cut short: .* \(after line (\d+)\)", error)
        assert line
        assert rows[-1].line == int(line[1])
        assert len(rows) > 1000

    def test_no_half_line_becomes_a_row(self, compress: Compress) -> None:
        whole = many(20_000)
        for cut in range(5000, 5005):
            rows, _ = drained(from_stdin(compress(whole)[:-cut]))
            assert ",".join(rows[-1].cells).encode() == whole.splitlines()[rows[-1].line - 1]

    def test_nothing_readable_is_refused_at_once(self, compress: Compress) -> None:
        with pytest.raises(InputError, match="is cut short"):
            from_stdin(compress(HEADER)[:12])

    def test_corrupt_data_is_named(self, compress: Compress) -> None:
        data = bytearray(compress(many(50_000)))
        data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
        with pytest.raises(InputError, match=r"has corrupt (gzip|zstd) data|is cut short"):
            rows_of(bytes(data))

    def test_the_whole_file_is_hashed(self, compress: Compress) -> None:
        data = compress(many(1000)) + bytes(100_000)
        source = from_stdin(data)
        list(source.rows())
        assert source.digest() == hashlib.sha256(data).hexdigest()


def test_a_skippable_zstd_frame_may_come_first() -> None:
    data = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + zstandard.compress(HEADER + b"1,2\n")
    assert [row.cells for row in rows_of(data)] == [("1", "2")]


def test_a_read_error_in_the_middle_ends_the_input_with_a_reason() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            data = super().read1(size)
            if not data:
                raise OSError(5, "Input/output error")
            return data

    source = open_source("-", columns=None, delimiter=None, stdin=Failing(HEADER + b"1,2\n"))
    rows = source.rows()
    assert next(rows).cells == ("1", "2")
    with pytest.raises(InputError, match=r"cannot be read: Input/output error \(after line 2\)"):
        next(rows)


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    """A leaked file would be a ResourceWarning, and warnings are errors here."""
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"a,b\n")
    refusal(path)


def test_a_read_error_at_the_very_beginning_is_a_reason_too() -> None:
    """A share of the network may be gone before its first byte."""

    class Failing(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match=r"^standard input cannot be read: Input/output error$"):
        open_source("-", columns=None, delimiter=None, stdin=Failing())
