"""Workbooks: which sheet, which rows, and what stands in a cell."""

import gzip
import io
import random
import sys
import zipfile
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests.workbooks import Failed, Value, workbook
from worker.errors import InputError, UsageError, WorkerError
from worker.judge import judge
from worker.models import Pair, Reject
from worker.sources import Source, open_source
from worker.sources import workbook as room

HEADER: tuple[Value, ...] = ("Deal ID", "Contact ID", "Note")
ROWS: list[tuple[Value, ...]] = [
    HEADER,
    (1234, 88.0, "first"),
    (),
    (1234.0, "089", None),
    (7, 8, 1.5, "beyond"),
]


def opened(data: bytes, sheet: str | None = None) -> Source:
    return open_source("-", columns=None, delimiter=None, sheet=sheet, stdin=io.BytesIO(data))


def refusal(data: bytes, sheet: str | None = None) -> str:
    with pytest.raises(WorkerError) as caught:
        opened(data, sheet)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_rows_have_the_numbers_that_the_sheet_shows_and_whole_numbers_come_whole() -> None:
    source = opened(workbook({"Pairs": ROWS}))

    rows = [(row.number, row.line, row.cells, row.fault) for row in source.rows()]

    assert rows == [
        (1, 2, ("1234", "88", "first"), ""),
        (2, 4, ("1234", "089", ""), ""),
        (3, 5, ("7", "8", "1.5", "beyond"), "row has 1 cell more than the header"),
    ]
    assert (source.format, source.sheet, source.blank, source.columns) == ("xlsx", "Pairs", 1, HEADER)


def test_a_table_may_stand_anywhere_on_its_sheet() -> None:
    source = opened(workbook({"Pairs": [(), (), *ROWS]}, left=2))

    assert [(row.line, judge(row)) for row in source.rows()][:2] == [
        (4, Pair(1, 4, 1234, 88)),
        (6, Pair(2, 6, 1234, 89)),
    ]
    assert {role: one.number for role, one in source.ids.items()} == {"opportunity": 3, "contact": 4}
    assert source.blank == 3


def test_a_sheet_of_two_columns_of_numbers_needs_no_header() -> None:
    assert [judge(row) for row in opened(workbook({"Pairs": [(1, 2), (3, 4)]})).rows()] == [
        Pair(1, 1, 1, 2),
        Pair(2, 2, 3, 4),
    ]


@pytest.mark.parametrize(
    ("value", "text", "reason"),
    [
        (date(2024, 1, 5), "2024-01-05", "contact_id is not a whole number"),
        (True, "TRUE", "contact_id is not a whole number"),
        (1.5, "1.5", "contact_id is not a whole number"),
        (1.23e12, "1230000000000", "contact_id is above 2147483647"),
        (-3, "-3", "contact_id is not a whole number"),
        (Failed("#N/A"), "#N/A", "contact_id is not a whole number"),
        (None, "", "contact_id is empty"),
        ("x", "x", "contact_id is not a whole number"),
    ],
)
def test_what_is_no_id_makes_its_row_invalid_with_a_reason(
    value: str | float | date | None, text: str, reason: str
) -> None:
    [row] = opened(workbook({"Pairs": [HEADER, (1, value, "x")]})).rows()

    assert row.contact == text
    assert judge(row) == Reject(1, 2, reason)


def test_errors_stand_where_they_are_and_make_no_row_blank() -> None:
    failed = Failed("#REF!")
    rows: list[tuple[Value, ...]] = [(), HEADER, (failed, failed, failed), (7, 8, failed), (9, 10, "x")]

    read = [row.cells for row in opened(workbook({"a": [("x",)], "Pairs": rows}, left=1), "Pairs").rows()]

    assert read == [("", *["#REF!"] * 3), ("", "7", "8", "#REF!"), ("", "9", "10", "x")]


def test_a_sheet_that_spans_far_too_much_is_refused_before_it_is_held() -> None:
    place = '<c r="XFD1000000"><v>1</v></c>'

    said = refusal(workbook({"Pairs": ROWS}, more=f'<row r="1000000">{place}</row>'))

    assert said == (
        "standard input: sheet Pairs goes down to row 1,000,000 and over 16,384 columns:"
        " delete what stands far out, or save it as CSV"
    )


def test_cells_without_a_value_do_not_count_however_far_out() -> None:
    data = workbook({"Pairs": ROWS}, more='<row r="1048576"><c r="XFD1048576" s="1"/></row>')

    assert len(list(opened(data).rows())) == 3


BOOK = workbook({"Notes": [("x",)], "2": [HEADER, (1, 1)], "Pairs": [HEADER, (3, 3)]}, hidden=["Notes"])


@pytest.mark.parametrize(("sheet", "row"), [(None, 1), ("Pairs", 3), ("3", 3), ("2", 1)])
def test_a_sheet_is_chosen_by_name_or_else_by_number_and_is_the_first_that_is_shown(
    sheet: str | None, row: int
) -> None:
    assert [row.opportunity for row in opened(BOOK, sheet).rows()] == [str(row)]


@pytest.mark.parametrize("sheet", ["pairs", "0", "4", "-1", "9999999", "\u00b2"])
def test_a_sheet_that_is_not_there_is_refused_with_those_that_are(sheet: str) -> None:
    assert refusal(BOOK, sheet) == f"standard input has no sheet {sheet}; it has: Notes, 2, Pairs"


def test_a_workbook_that_shows_no_sheet_wants_one_chosen() -> None:
    data = workbook({"a": ROWS, "b": ROWS}, hidden=["a", "b"])

    assert "choose one with --sheet: a, b" in refusal(data)
    assert len(list(opened(data, "b").rows())) == 3


def test_an_empty_sheet_is_refused_by_its_name() -> None:
    assert refusal(workbook({"Pairs": []})) == "standard input: sheet Pairs is empty"


def test_a_header_without_ids_is_refused_with_what_it_has() -> None:
    assert "has no column opportunity_id and contact_id; found: name, age" in refusal(
        workbook({"Pairs": [("name", "age"), ("x", "1")]})
    )


@pytest.mark.parametrize("cut", [200, 600, -30])
def test_a_workbook_that_is_cut_short_is_one_line(cut: int) -> None:
    assert refusal(BOOK[:cut]).startswith("standard input is an Excel workbook that is damaged; open it")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_damaged_in_a_workbook_it_is_rows_or_one_line(seed: int) -> None:
    deal = random.Random(seed)  # noqa: S311 - the same damages each time
    with zipfile.ZipFile(io.BytesIO(BOOK)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    ends = Counter[str]()
    for _ in range(50):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in parts.items():
                damaged = bytearray(text)
                at = deal.randrange(len(damaged))
                damaged[at : at + deal.randrange(9)] = deal.choice(
                    [b"", b"9", b"<", b'r="ZZZ99999"', b"A1048577", b"99999999", b't="s"', b"</row>"]
                )
                archive.writestr(name, bytes(damaged if deal.random() < 0.4 else text))
        try:
            with opened(file.getvalue()) as source:
                ends["read"] += bool(list(source.rows()))
        except InputError:  # its message is one line, as that of every error of ours
            ends["refused"] += 1
    assert min(ends["read"], ends["refused"]) > 0


def test_one_with_a_password_is_told_from_an_old_one(tmp_path: Path) -> None:
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)
    (tmp_path / "new.xlsx").write_bytes(old)
    (tmp_path / "~$new.xlsx").write_bytes(b"\x04user")

    assert "with a password" in refusal(old + "EncryptedPackage".encode("utf-16-le"))
    assert "is an old Excel workbook" in refusal(old)
    for name, reason in (("new.xlsx", "with a password"), ("~$new.xlsx", "name the workbook itself")):
        with pytest.raises(InputError, match=reason):
            open_source(str(tmp_path / name), columns=None, delimiter=None)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)

    said = refusal(BOOK)

    assert said == (
        "standard input is an Excel workbook: to read it, pip install 'bulklink[excel]', or save it as CSV"
    )


def test_a_compressed_workbook_is_read_too_and_one_that_breaks_off_is_not() -> None:
    assert len(list(opened(gzip.compress(BOOK)).rows())) == 1
    assert refusal(gzip.compress(BOOK)[:-20]) == "standard input is cut short: its gzip data has no end"


def test_what_is_far_too_large_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_BYTES", 100)

    assert "larger than" in refusal(BOOK)


def test_a_failure_of_the_library_itself_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def fail(_: object) -> None:
        raise PanicException

    monkeypatch.setattr("python_calamine.load_workbook", fail)
    assert "that is damaged" in refusal(BOOK)

    monkeypatch.setattr(room, "_PANIC", "another")
    with pytest.raises(PanicException):
        opened(BOOK)


def test_a_sheet_is_asked_of_a_workbook_only() -> None:
    with pytest.raises(UsageError, match=r"--sheet is about an Excel workbook \(.xlsx\), and standard input"):
        opened(b"deal,contact\n1,2\n", "1")
