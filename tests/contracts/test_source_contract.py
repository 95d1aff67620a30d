"""What every source must do, whatever the format, the encoding or the way the bytes come in."""

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest
import zstandard

from worker.errors import InputError
from worker.sources import Source, open_source
from worker.sources.base import Chosen
from worker.sources.csv_file import CsvFile

CSV = (
    "opportunity_id,contact_id,note,_status\n"
    "1234,88,plain,linked\n"
    " ,,\t,\n"
    ' 0012 ,7,"a, ""quoted"" cell",\n'
    "x,,\u00fc\u20ac\U0001f600,\n"
    '"5,6,broken\n'
    "9,10,last,\n"
)
JSONL = (
    "\n"
    '{"opportunity_id": 1234, "contact_id": 88, "note": "plain", "_status": "linked"}\n'
    '{"opportunity_id": " ", "contact_id": null, "note": "\\t"}\n'
    '{"opportunity_id": " 0012 ", "contact_id": "7", "note": "a, \\"quoted\\" cell"}\n'
    '{"opportunity_id": "x", "contact_id": null, "note": "\u00fc\u20ac\U0001f600"}\n'
    '"5,6,broken\n'
    '{"opportunity_id": 9, "contact_id": 10, "note": "last"}\n'
)
COLUMNS = ("opportunity_id", "contact_id", "note")
EXPECTED = [
    (1, 2, ("1234", "88", "plain")),
    (2, 4, (" 0012 ", "7", 'a, "quoted" cell')),
    (3, 5, ("x", "", "\u00fc\u20ac\U0001f600")),
    (4, 6, None),
    (5, 7, ("9", "10", "last")),
]

FILES: dict[str, tuple[str, bytes]] = {
    "csv": ("pairs.csv", CSV.encode()),
    "csv with BOM": ("pairs.csv", CSV.encode("utf-8-sig")),
    "csv with CRLF": ("pairs.csv", CSV.replace("\n", "\r\n").encode()),
    "csv with CR": ("pairs.csv", CSV.replace("\n", "\r").encode()),
    "csv with semicolons": (
        "pairs.txt",
        CSV.replace("a, ", "a; ").replace(",", ";").replace("a; ", "a, ").encode(),
    ),
    "csv.gz": ("pairs.csv.gz", gzip.compress(CSV.encode())),
    "csv.zst": ("pairs.csv.zst", zstandard.compress(CSV.encode())),
    "compressed without saying so": ("pairs", gzip.compress(CSV.encode())),
    "utf-16-le": ("pairs.csv", b"\xff\xfe" + CSV.encode("utf-16-le")),
    "utf-16-be": ("pairs.csv", b"\xfe\xff" + CSV.encode("utf-16-be")),
    "stdin": ("-", CSV.encode()),
    "stdin, compressed": ("-", zstandard.compress(CSV.encode())),
    "stdin, jsonl": ("-", JSONL.encode()),
    "jsonl": ("pairs.jsonl", JSONL.encode()),
    "ndjson.gz": ("pairs.ndjson.gz", gzip.compress(JSONL.encode())),
    "jsonl.zst": ("pairs.jsonl.zst", zstandard.compress(JSONL.encode())),
    "jsonl in utf-16": ("pairs.jsonl", b"\xff\xfe" + JSONL.encode("utf-16-le")),
}

Opener = Callable[[], Source]


def unpacked(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    return zstandard.decompress(data) if data.startswith(b"\x28\xb5\x2f\xfd") else data


@pytest.fixture(params=FILES)
def case(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    return FILES[request.param]


@pytest.fixture
def opener(case: tuple[str, bytes], tmp_path: Path) -> Iterator[Opener]:
    name, data = case
    with ExitStack() as opened:

        def opening() -> Source:
            if name == "-":
                return opened.enter_context(
                    open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(data))
                )
            path = tmp_path / name
            path.write_bytes(data)
            return opened.enter_context(open_source(str(path), columns=None, delimiter=None))

        yield opening


def test_rows_come_in_order_with_their_number_line_and_cells(opener: Opener) -> None:
    rows = list(opener().rows())

    assert [(row.number, row.line) for row in rows] == [(number, line) for number, line, _ in EXPECTED]
    assert [(row.number, row.cells) for row in rows if not row.fault] == [
        (number, cells) for number, _, cells in EXPECTED if cells
    ]


def test_what_has_no_text_is_no_row_and_is_counted(opener: Opener) -> None:
    source = opener()
    lines = [row.line for row in source.rows()]

    assert 3 not in lines
    assert source.blank == 7 - len(lines) - isinstance(source, CsvFile)  # the header is no row either


def test_it_says_how_the_input_is_written(opener: Opener, case: tuple[str, bytes]) -> None:
    dialect = opener().dialect
    data = unpacked(case[1])

    assert dialect.encoding == {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(data[:2], "utf-8")
    assert dialect.bom is data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"))
    text = data.decode({"utf-8": "utf-8-sig"}.get(dialect.encoding, "utf-16"))
    assert dialect.line_end == ("\r\n" if "\r\n" in text else "\r" if "\r" in text else "\n")
    assert dialect.delimiter == (";" if "contact_id;" in text else ",")


def test_it_says_which_columns_hold_the_ids(opener: Opener) -> None:
    source = opener()
    list(source.rows())

    numbers = (1, 2) if isinstance(source, CsvFile) else (None, None)
    assert source.ids == {
        "opportunity": Chosen("opportunity_id", 0, numbers[0]),
        "contact": Chosen("contact_id", 1, numbers[1]),
    }


def test_the_ids_are_handed_over_as_they_stand(opener: Opener) -> None:
    rows = [row for row in opener().rows() if not row.fault]

    assert [(row.opportunity, row.contact) for row in rows] == [
        ("1234", "88"),
        (" 0012 ", "7"),
        ("x", ""),
        ("9", "10"),
    ]


def test_a_faulty_record_is_a_row_without_ids_that_shows_its_text(opener: Opener) -> None:
    [faulty] = [row for row in opener().rows() if row.fault]

    assert (faulty.opportunity, faulty.contact) == (None, None)
    assert faulty.cells[0].replace(";", ",") == '"5,6,broken'
    assert len(faulty.cells) == len(COLUMNS)


def test_columns_that_begin_with_an_underscore_are_left_out(opener: Opener) -> None:
    source = opener()
    list(source.rows())

    assert source.columns == COLUMNS


def test_the_digest_is_that_of_the_file_as_it_is_on_disk(opener: Opener, case: tuple[str, bytes]) -> None:
    source = opener()
    list(source.rows())

    assert source.digest() == hashlib.sha256(case[1]).hexdigest()


def test_the_name_is_the_base_name(opener: Opener, case: tuple[str, bytes]) -> None:
    assert opener().name == case[0]


def test_reading_in_chunks_gives_each_row_once(opener: Opener) -> None:
    source = opener()
    chunks = iter(lambda: [row.number for row in islice(source.rows(), 2)], [])

    assert list(chunks) == [[1, 2], [3, 4], [5]]


def test_closing_before_the_end_leaves_nothing_open(opener: Opener) -> None:
    """A leaked file would be a ResourceWarning, and warnings are errors here."""
    source = opener()
    next(source.rows())
    source.close()
    source.close()


def test_an_input_of_blank_lines_is_empty(case: tuple[str, bytes], tmp_path: Path) -> None:
    name = case[0]
    if name == "-":
        with pytest.raises(InputError, match="standard input is empty"):
            open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(b"\n \r\n"))
        return
    path = tmp_path / name
    path.write_bytes(b"\n \r\n")
    with pytest.raises(InputError, match=r"pairs.* is empty"):
        open_source(str(path), columns=None, delimiter=None)


def test_both_formats_hold_the_same_content() -> None:
    """Guards the suite itself: what is expected of one file must be in the other."""
    objects = [json.loads(line) for line in JSONL.splitlines() if line.startswith("{")]
    objects = [item for item in objects if any(str(value or "").strip() for value in item.values())]

    assert [item["note"] for item in objects] == [cells[2] for _, _, cells in EXPECTED if cells]
