"""A table as it stands: where its header is, under which delimiter, and what is above it."""

import io

import pytest

from tests.workbooks import workbook
from worker.errors import InputError, UsageError
from worker.models import Dialect
from worker.sources import RoughTable


def rough(data: bytes, delimiter: str | None = None, columns: dict[str, str] | None = None) -> RoughTable:
    return RoughTable("-", columns=columns, delimiter=delimiter, stdin=io.BytesIO(data))


def test_nothing_of_it_is_left_out() -> None:
    table = rough(b'\n\nTitle\nDeal ID;contact;\n1;2;x;y;\n\n;;\n"3;4\n')

    assert table.before == [(1, "", "blank"), (2, "", "blank"), (3, "Title", "before_header")]
    assert (table.line, table.header, table.found) == (
        4,
        ["Deal ID", "contact", ""],
        ["Deal ID", "contact", ""],
    )
    assert table.dialect == Dialect(";")
    assert list(table.records) == [
        (5, ["1", "2", "x", "y", ""], ""),
        (6, [], ""),
        (7, ["", "", ""], ""),
        (8, ['"3;4'], "unclosed quote"),
    ]


def test_a_line_that_cannot_be_taken_apart_is_kept_whole() -> None:
    text = '"' + "x" * 5000

    assert list(rough(f"deal,contact\n{text}\n".encode()).records) == [(2, [text], "unclosed quote")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_under_which_there_is_a_header(delimiter: str) -> None:
    title = "a, list; of | many,\tthings;"

    table = rough(f"{title}\ndeal{delimiter}contact\n1{delimiter}2\n".encode())

    assert (table.dialect.delimiter, table.line, table.header) == (delimiter, 2, ["deal", "contact"])


def test_what_is_said_of_the_delimiter_is_taken() -> None:
    assert rough(b"sep=:\ndeal:contact\n").dialect == Dialect(":", sep_line=True)
    assert rough(b"x\ndeal:contact\n", ":").dialect.delimiter == ":"
    with pytest.raises(InputError, match="has no column opportunity_id"):
        rough(b"deal,contact\n1,2\n", ";")
    with pytest.raises(UsageError, match="--delimiter is one character"):
        rough(b"deal,contact\n1,2\n", "::")


def test_a_header_is_not_looked_for_without_end() -> None:
    titles = "title\n" * 60

    with pytest.raises(InputError, match="found: title"):
        rough(f"{titles}deal,contact\n1,2\n".encode() + b"3,4\n" * 20_000)


def test_the_reason_is_that_of_the_line_that_is_most_like_a_header() -> None:
    with pytest.raises(InputError, match="found: deal, name"):
        rough(b"title\ndeal,name\nx,y\n")


def test_a_header_may_be_longer_than_what_is_read_at_once() -> None:
    table = rough(b"t\n" + b"x" * 40_000 + b"\ndeal,contact\n1,2\n")

    assert [(line, len(text)) for line, text, _ in table.before] == [(1, 1), (2, 40_000)]
    assert list(table.records) == [(4, ["1", "2"], "")]


def test_rows_of_a_sheet_are_as_wide_as_its_header() -> None:
    data = workbook({"Pairs": [("title",), ("deal", "contact", "note"), (1, 2), (), (3, 4, "x", "y")]})

    table = rough(data)

    assert (table.sheet, table.before) == ("Pairs", [(1, "title", "before_header")])
    assert list(table.records) == [
        (3, ["1", "2", ""], ""),
        (4, ["", "", ""], ""),
        (5, ["3", "4", "x", "y"], ""),
    ]


def test_columns_that_are_named_by_number_need_no_header() -> None:
    table = rough(b"x;'1;2.0\n", columns={"opportunity": "#2", "contact": "#3"})

    assert (table.header, table.layout.names) == ([], ("column_1", "opportunity_id", "contact_id"))
    assert list(table.records) == [(1, ["x", "'1", "2.0"], "")]
