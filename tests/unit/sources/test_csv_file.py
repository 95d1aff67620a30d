import csv
import io
import re
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import InputError, UsageError
from worker.models import Row
from worker.sources import open_source
from worker.sources.lines import MAX_LINE
from worker.sources.opening import CHUNK
from worker.sources.records import MAX_SPAN, SHORT_SPAN, STRAY_QUOTES
from worker.sources.table import MAX_EXTRA

HEADER = "opportunity_id,contact_id,note\n"


def read(
    data: str | bytes, columns: Mapping[str, str] | None = None, delimiter: str | None = None
) -> list[Row]:
    raw = data if isinstance(data, bytes) else data.encode()
    return list(open_source("-", columns=columns, delimiter=delimiter, stdin=io.BytesIO(raw)).rows())


def faults(rows: list[Row]) -> dict[int, str]:
    return {row.line: row.fault for row in rows if row.fault}


class TestFirstLine:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_it_shows_the_delimiter(self, delimiter: str) -> None:
        rows = read(
            f'"a,b;c\td|e,,,;;;|||"{delimiter}opportunity_id{delimiter}contact_id\nx{delimiter}1{delimiter}2'
        )
        assert [row.cells for row in rows] == [("x", "1", "2")]

    @pytest.mark.parametrize(
        ("option", "delimiter"), [("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), (":", ":")]
    )
    def test_the_option_overrides_it(self, option: str, delimiter: str) -> None:
        text = f"opportunity_id{delimiter}contact_id{delimiter}a,b,c,d,e\n1{delimiter}2{delimiter}x"
        assert read(text, delimiter=option)[0].cells == ("1", "2", "x")

    @pytest.mark.parametrize("option", ["", "ab", '"', "\n", "\r", "\0"])
    def test_what_is_no_delimiter_is_a_usage_error(self, option: str) -> None:
        with pytest.raises(UsageError, match="--delimiter is one character or tab"):
            read(HEADER, delimiter=option)

    @pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"'])
    def test_the_line_that_excel_writes_is_obeyed_and_skipped(self, line: str) -> None:
        [row] = read(f"{line}\r\n\r\nopportunity_id;contact_id;a,b,c,d\r\n1;2;x\r\n")
        assert (row.number, row.line, row.cells) == (1, 4, ("1", "2", "x"))

    def test_that_line_alone_is_an_empty_file(self) -> None:
        with pytest.raises(InputError, match="is empty"):
            read("sep=;\n")

    @pytest.mark.parametrize("first", ["1234,88", " 1 ; 2 ", "-1,0", "1\t99999999999"])
    def test_two_integers_are_no_header(self, first: str) -> None:
        [row, second] = read(f"\n{first}\n3,4\n".replace("3,4", re.sub(r"\d+", "5", first)))
        assert (row.number, row.line, second.number, second.line) == (1, 2, 2, 3)
        assert row.cells == (row.opportunity, row.contact)

    @pytest.mark.parametrize("first", ["1,2,3", "1,x", "1.0,2", "\u0661,\u0662"])
    def test_anything_else_is_one(self, first: str) -> None:
        with pytest.raises(InputError, match="has no column"):
            read(f"{first}\n3,4\n")

    def test_with_named_columns_two_integers_are_a_header(self) -> None:
        [row] = read("1,2\n3,4\n", columns={"opportunity": "2", "contact": "1"})
        assert (row.opportunity, row.contact) == ("4", "3")

    def test_an_unreadable_header_is_refused_with_its_line(self) -> None:
        with pytest.raises(InputError, match="has no readable header: text after a closing quote in line 2"):
            read('\n"opportunity"_id,contact_id\n1,2\n')
        with pytest.raises(InputError, match="line longer than 1 MiB in line 1"):
            read("x" * (MAX_LINE + 1))

    def test_a_header_may_span_lines(self) -> None:
        [row] = read('opportunity_id,contact_id,"a\nb"\n1,2,3\n')
        assert (row.number, row.line) == (1, 3)

    def test_a_header_alone_is_an_input_without_rows(self) -> None:
        assert read(HEADER) == []


class TestLines:
    def test_a_line_number_is_that_where_the_record_starts(self) -> None:
        rows = read(HEADER + '1,2,"a\r\n\r\nb"\r\n\n3,4,x\r5,6,y\n \t\n7,8,"\u2028\x0b\x85"\n9,9,z')
        assert [(row.number, row.line) for row in rows] == [(1, 2), (2, 6), (3, 7), (4, 9), (5, 10)]
        assert rows[0].cells[2] == "a\r\n\r\nb"
        assert rows[3].cells[2] == "\u2028\x0b\x85"

    @pytest.mark.parametrize("shift", range(4))
    def test_a_crlf_is_one_line_end_wherever_it_falls(self, shift: int) -> None:
        """Around the edge of a chunk its two halves are read apart."""
        fill = "x" * (CHUNK - len(HEADER) - len("1,2,") - shift)
        rows = read(HEADER + f"1,2,{fill}\r\n3,4,y\r\n")
        assert [(row.line, row.cells[2]) for row in rows] == [(2, fill), (3, "y")]

    def test_a_character_split_between_chunks_is_whole(self) -> None:
        for shift in range(4):
            fill = "x" * (CHUNK - len(HEADER) - len("1,2,") - shift)
            assert read(HEADER + f"1,2,{fill}\U0001f600\n")[0].cells[2] == fill + "\U0001f600"

    def test_a_bad_byte_stays_in_its_cell(self) -> None:
        rows = read(HEADER.encode() + b"1,2,caf\xe9\n3\xff,4,x\n5,\x006,y\n")
        assert [row.fault for row in rows] == ["", "", ""]
        assert rows[0].cells[2].encode(errors="surrogateescape") == b"caf\xe9"
        assert (rows[1].opportunity, rows[2].contact) == ("3\udcff", "\x006")


class TestFaults:
    def test_an_unclosed_quote_costs_one_row(self) -> None:
        rows = read(HEADER + '1,2,"oops\n' + "3,4,x\n" * 20_000)
        assert faults(rows) == {2: "unclosed quote"}
        assert len(rows) == 20_001
        assert rows[0].cells == ('1,2,"oops', "", "")
        assert (rows[1].line, rows[-1].line) == (3, 20_002)

    def test_so_it_does_at_the_end_of_the_file(self) -> None:
        rows = read(HEADER + '1,2,x\n3,4,"oops\n5,6,y')
        assert faults(rows) == {3: "unclosed quote"}
        assert [row.line for row in rows] == [2, 3, 4]

    def test_so_it_does_before_a_well_quoted_row(self) -> None:
        rows = read(HEADER + '1,2,"oops\n3,4,"fine"\n5,6,y\n')
        assert faults(rows) == {2: "unclosed quote"}
        assert [row.cells for row in rows[1:]] == [("3", "4", "fine"), ("5", "6", "y")]

    def test_text_after_a_closing_quote_costs_one_row(self) -> None:
        rows = read(HEADER + '1,2,"a"b\n3,4,x\n')
        assert faults(rows) == {2: "text after a closing quote"}

    @pytest.mark.parametrize("lead", [0, 1, CHUNK - 100, CHUNK, 3 * CHUNK])
    @pytest.mark.parametrize("over", [False, True])
    def test_a_record_of_several_lines_may_span_so_much_wherever_it_lies(
        self, lead: int, *, over: bool
    ) -> None:
        before = "0,0,\n" * (lead // 5)
        fill = "x\n" * ((MAX_SPAN - len('1,2,""\n')) // 2)
        record = f'1,2,"{fill + "xx" * over}"\n'
        rows = read(HEADER + before + record + "3,4,y\n")
        start = 2 + lead // 5
        assert faults(rows).get(start, "") == ("unclosed quote" if over else "")
        assert (rows[-1].line, rows[-1].cells) == (start + record.count("\n"), ("3", "4", "y"))

    @pytest.mark.parametrize("quote", ["", '"'])
    def test_a_cell_may_be_as_long_as_a_line(self, quote: str) -> None:
        """Python's own limit is 131,072 characters."""
        cell = "x" * (MAX_LINE - 10)
        rows = read(HEADER + f"1,2,{quote}{cell}{quote}\n3,4,y\n")
        assert faults(rows) == {}
        assert [row.cells for row in rows] == [("1", "2", cell), ("3", "4", "y")]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
    def test_a_line_too_long_costs_one_row(self, end: str) -> None:
        rows = read(HEADER + '1,2,"open\n' + "x" * (3 * MAX_LINE) + end + ("3,4,y\n" if end else ""))
        assert faults(rows) == {2: "unclosed quote", 3: "line longer than 1 MiB"}
        assert rows[1].cells == ("x" * 500, "", "")
        assert [row.line for row in rows] == ([2, 3, 4] if end else [2, 3])

    def test_a_line_of_the_greatest_length_is_read(self) -> None:
        cells = ",".join(["x" * 65_535] * 15)
        rows = read("opportunity_id,contact_id" + ",a" * 15 + f"\n1,2,{cells}\n3,4" + "," * 15 + "\n")
        assert faults(rows) == {}
        assert len(rows[0].cells) == 17

    def test_too_many_cells_are_a_fault_and_kept_apart(self) -> None:
        """Cut to the columns, the shifted row would look like the pair 12, 1."""
        rows = read("name,opportunity_id,contact_id,note\nFoo, 12,1,2,x\nFoo,1,2,3,,y,\n")
        assert faults(rows) == {
            2: "row has 1 cell more than the header",
            3: "row has 2 cells more than the header",
        }
        assert [row.cells for row in rows] == [("Foo", " 12", "1", "2", "x"), ("Foo", "1", "2", "3", "", "y")]
        assert {(row.opportunity, row.contact) for row in rows} == {(None, None)}

    def test_so_many_cells_are_kept_apart_and_no_more(self) -> None:
        [row] = read(HEADER + "1,2,3" + ",x" * 1000 + "\n")
        assert row.cells[: 3 + MAX_EXTRA - 1] == ("1", "2", "3", *["x"] * (MAX_EXTRA - 1))
        assert row.cells[3 + MAX_EXTRA - 1 :] == (",".join(["x"] * (1000 - MAX_EXTRA + 1)),)

    def test_empty_cells_beyond_the_header_are_nothing(self) -> None:
        rows = read("deal_id,contact_id\n11,21,,,\n12,22,, \n13,23\n")
        assert faults(rows) == {}
        assert [row.cells for row in rows] == [("11", "21"), ("12", "22"), ("13", "23")]
        assert [(row.opportunity, row.contact) for row in rows] == [row.cells for row in rows]

    def test_what_stands_in_our_own_columns_for_extra_cells_is_beyond_the_header(self) -> None:
        """So a row of rejected.csv that nobody has corrected is not linked by cells that were shifted."""
        header = "name,opportunity_id,contact_id,_line,_reason,_extra,_extra\n"
        rows = read(header + "Foo,12,1,2,row has 2 cells more,2,x\nFoo,12,1,3,mended,,\nFoo,12,1\n")
        assert faults(rows) == {2: "row has 2 cells more than the header"}
        assert [row.cells for row in rows] == [("Foo", "12", "1", "2", "x"), *[("Foo", "12", "1")] * 2]

    def test_too_few_cells_are_filled_up_if_the_ids_are_there(self) -> None:
        assert read(HEADER + "1,2\n") == [Row(1, 2, ("1", "2", ""), "1", "2")]

    def test_too_few_cells_without_an_id_are_a_fault(self) -> None:
        fault = "row has 1 cell, the header has 3"
        assert read(HEADER + "1\n") == [Row(1, 2, ("1", "", ""), None, None, fault)]

    @pytest.mark.parametrize("row", [",,", " , ,\t", '"","",""', '""', "  ", ",,,,,", " ", ",", "\u00a0,,"])
    def test_a_row_without_text_is_skipped_and_counted(self, row: str) -> None:
        text = f"{row}\n{HEADER}{row}\n1,2,x\n{row}\n{row}\n3,4,y\n"
        source = open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(text.encode()))
        assert [(row.number, row.line) for row in source.rows()] == [(1, 4), (2, 7)]
        assert source.blank == 4

    def test_a_file_of_rows_without_text_is_empty(self) -> None:
        with pytest.raises(InputError, match="standard input is empty"):
            read(",,\n ,,\n")

    def test_dropped_columns_count_for_the_width_but_are_not_kept(self) -> None:
        rows = read("_a,opportunity_id,_b,contact_id\nx,1,y,2\nx,1\n")
        assert [row.cells for row in rows] == [("1", "2"), ("1", "")]
        assert faults(rows) == {3: "row has 2 cells, the header has 4"}

    def test_a_file_of_nothing_but_stray_quotes_is_still_read(self) -> None:
        """Each line opens a quote that the next one closes and opens again: no record ever ends."""
        count = STRAY_QUOTES + 500
        rows = read(HEADER + 'a","b\n' * count + "1,2,x\n" * SHORT_SPAN + '3,4,"a\nb"\n')
        assert [row.line for row in rows] == list(range(2, len(rows) + 2))
        assert set(faults(rows).values()) == {"unclosed quote"}
        assert len(faults(rows)) == count
        assert rows[-1].cells == ("3", "4", "a\nb")

    def test_after_many_stray_quotes_short_quoted_cells_are_still_read(self) -> None:
        rows = read(HEADER + 'a","b\n' * STRAY_QUOTES + "1,2,x\n" * SHORT_SPAN + '1,2,"a\nb"\n' * 2000)
        assert [row.cells[2] for row in rows[-2000:]] == ["a\nb"] * 2000

    def test_after_many_stray_quotes_long_quoted_cells_are_not(self) -> None:
        strays = 'a","b\n' * STRAY_QUOTES + "1,2,x\n" * SHORT_SPAN
        cell = "x\n" * SHORT_SPAN
        assert read(HEADER + f'1,2,"{cell}"\n' + strays)[0].cells[2] == cell
        rows = read(HEADER + strays + f'1,2,"{cell}"\n')
        assert rows[STRAY_QUOTES + SHORT_SPAN].fault == "unclosed quote"


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30) | st.text(
    alphabet='",;\t|\r\n x', max_size=12
)


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=30),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_the_csv_writer_wrote_comes_back_unchanged(
    table: list[tuple[str, str, str]], delimiter: str, end: str, encoding: str
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(("opportunity_id", "contact_id", "note"))
    starts = []
    for cells in table:
        starts.append(1 + len(re.findall(r"\r\n|\r|\n", out.getvalue())))
        writer.writerow(cells)

    rows = read(out.getvalue().encode(encoding))

    filled = [(line, cells) for line, cells in zip(starts, table, strict=True) if "".join(cells).strip()]
    assert rows == [
        Row(number, line, cells, cells[0], cells[1]) for number, (line, cells) in enumerate(filled, 1)
    ]


HOSTILE = st.lists(
    st.sampled_from(
        [b'"', b",", b"\n", b"\r", b"\r\n", b"1", b"22", b'""', b"\0", b"\xff", b" ", b"\xc3\xa4"]
    )
    | st.binary(max_size=4),
    max_size=120,
).map(b"".join)


@settings(max_examples=300)
@given(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"opportunity_id,contact_id,x\n", b"1,2\n"]), HOSTILE
)
def test_hostile_bytes_are_rows_or_a_refusal_and_no_line_is_lost(head: bytes, tail: bytes) -> None:
    try:
        source = open_source("-", columns=None, delimiter=None, stdin=io.BytesIO(head + tail))
        rows = list(source.rows())
    except InputError as error:
        assert str(error).isprintable()  # noqa: PT017 - only some of the inputs are refused
        return

    width = len(source.columns)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(earlier.line < later.line for earlier, later in pairwise(rows))
    assert all(len(row.cells) == width or (row.fault and len(row.cells) > width) for row in rows)
    assert all(row.fault.isprintable() for row in rows)
    assert all((row.opportunity is None) == bool(row.fault) for row in rows)
    assert covered(rows, (head + tail).decode("utf-8-sig", "surrogateescape"))


class Trickle(io.BytesIO):
    """A pipe that hands over a few bytes at a time."""

    step = 1

    def read1(self, _size: int | None = -1, /) -> bytes:
        return super().read1(self.step)


@given(st.sampled_from([b"opportunity_id,contact_id,x\n", b"1,2\n"]), HOSTILE, st.integers(1, 9))
def test_rows_do_not_depend_on_how_the_bytes_arrive(head: bytes, tail: bytes, step: int) -> None:
    pipe = Trickle(head + tail)
    pipe.step = step
    slow = open_source("-", columns=None, delimiter=None, stdin=pipe)
    assert list(slow.rows()) == read(head + tail)


def covered(rows: list[Row], text: str) -> bool:
    """Whether each line that has any text starts a row or lies within the one before it.

    Within: a row without a fault, or one with the wrong number of cells, may span lines by quotes.
    """
    lines = list(io.StringIO(text, newline=""))
    starts = {row.line: row for row in rows}
    inside: Row | None = None
    for number, line in enumerate(lines, 1):
        inside = starts.get(number, inside)
        if (
            number == 1
            or not line.strip(' ",\t\r\n\v\f\x1c\x1d\x1e\x1f\x85')
            or number in starts
            or inside is None
        ):
            continue
        quotes = "unclosed" in inside.fault or "closing" in inside.fault
        if quotes or '"' not in "".join(lines[inside.line - 1 : number]):
            return False
    return True
