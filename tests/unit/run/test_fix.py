"""Mending an input: what is changed, what is left, and that nothing is lost on the way."""

import csv
import io
import os
import re
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.workbooks import workbook
from worker.errors import InputError, OutputError, UsageError
from worker.judge import judge
from worker.models import Pair, Reject
from worker.run.check import checked
from worker.run.fix import FixResult, fix, parse_also, way_out
from worker.settings import Settings, load_settings
from worker.sources import open_source

FAULTS: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[2] / "fixtures" / "faults.toml").read_text(encoding="utf-8")
)["fault"]

OF_THE_FILE = {"bom", "encoding", "line_ends"}

# What the bytes begin with, how the text is encoded, and how its lines end.
ENCODINGS = {
    "utf-8": (b"", "utf-8", "\n"),
    "utf-8 with a mark": (b"\xef\xbb\xbf", "utf-8", "\r\n"),
    "utf-16-le": (b"\xff\xfe", "utf-16-le", "\r\n"),
    "utf-16-be": (b"\xfe\xff", "utf-16-be", "\r"),
}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory, where there is one: a thousand files are written over and over."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@cache
def plain() -> Settings:
    return load_settings({})


def settings(**flags: Any) -> Settings:
    return load_settings(flags) if flags else plain()


def mended(path: Path, *also: str, to: str = "out.csv", **flags: Any) -> tuple[FixResult, bytes]:
    out = path.with_name(to)
    result = fix(str(path), str(out), settings(**flags), frozenset(also))
    return result, out.read_bytes()


def changes(folder: Path) -> list[list[str]]:
    text = (folder / "fixes.csv").read_bytes().decode("utf-8", "surrogateescape")
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["line", "column", "before", "after", "rule"]
    return rows


def judged(path: Path) -> list[Pair | Reject]:
    with open_source(str(path), columns=None, delimiter=None) as source:
        return [judge(row) for row in source.rows()]


def pairs_of(path: Path) -> list[tuple[int, int]]:
    return [(one.opportunity_id, one.contact_id) for one in judged(path) if isinstance(one, Pair)]


def suspicions(path: Path) -> list[tuple[int, str]]:
    with (
        open_source(str(path), columns=None, delimiter=None) as source,
        checked(source, None) as result,
    ):
        return [(one.line, one.kind) for one in result.suspicions()]


def text_of(fault: dict[str, Any], delimiter: str, end: str) -> tuple[str, int]:
    """The file, and the line of its header."""
    header = fault.get("header", ["deal¦contact¦note"])
    good = fault.get("good", "{deal}¦{contact}¦good")
    before, after = (good.format(deal=n, contact=n + 1) for n in (101, 103))
    text = end.join([*header, before, *fault["rows"], after]) + end
    if fault.get("bytes"):
        text = re.sub(r"\{([0-9a-f]{2})\}", lambda found: chr(0xDC00 + int(found[1], 16)), text)
    return text.replace("¦", delimiter), len(header)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_each_fault_is_named_at_its_line_and_mended_or_left_and_no_row_is_lost(
    memory: Path, delimiter: str, encoding: str
) -> None:
    mark, codec, end = ENCODINGS[encoding]
    path, out, again = memory / "in.csv", memory / "out.csv", memory / "again.csv"
    for fault in FAULTS:
        if (fault.get("bytes") and codec != "utf-8") or (
            fault.get("marks") and not mark and codec == "utf-8"
        ):
            continue
        name = fault["name"]
        text, top = text_of(fault, delimiter, end)
        path.write_bytes(mark + text.encode(codec, "surrogateescape" if codec == "utf-8" else "strict"))
        also = frozenset(fault.get("also", ()))

        result = fix(str(path), str(out), settings(), also)

        listed = changes(memory)
        expected = Counter(
            (str(top + (line + 1 if line > 0 else line)), rule) for line, rule in fault.get("rules", ())
        )
        expected.update((str(top + 1 + line), "left") for line in fault.get("left", ()))
        named = Counter((row[0], row[4].partition(":")[0]) for row in listed if row[4] not in OF_THE_FILE)
        assert named == expected, name
        wanted = [(101, 102), *map(tuple, fault.get("pairs", ())), (103, 104)]
        assert pairs_of(out) == wanted, name

        # Every row is a row of the copy, or a duplicate that is named.
        with open_source(str(out), columns=None, delimiter=None) as source:
            rows = list(source.rows())
        dropped = sum(row[4] == "duplicate" for row in listed)
        assert result.rows == len(rows) + dropped == len(wanted) + len(fault.get("left", ())) + dropped, name
        assert result.left == len(fault.get("left", ())), name
        for left in fault.get("left", ()):
            bare = fault["rows"][left - 1].replace("¦", delimiter)
            assert bare in [delimiter.join(row.cells).rstrip(delimiter) for row in rows] or any(
                next(csv.reader([bare], delimiter=delimiter)) == list(row.cells) for row in rows
            ), name
        if "text" in fault:
            assert rows[1].cells[2] == fault["text"], name

        fix(str(out), str(again), settings(), also)
        assert again.read_bytes() == out.read_bytes(), name

        try:
            kinds = suspicions(path)
        except InputError:
            assert way_out(str(path), settings()).startswith(f"its header is in line {top}: "), name
        else:
            assert kinds == [(top + 1 + line, kind) for line, kind in fault.get("kinds", ())], name
            # What was an id before is the same one now.
            assert [one for one in pairs_of(path) if one not in wanted] == [], name


NUMBERS = ["1", "22", "0", "1.0", '="7"', "'8", "\u00a09", "1 234", "1.000", "1E5", "2147483648"]
QUOTES = ['"', '""', '"a', 'b"', '"q\n1,2"']
BREAKS = ["\n", "\r\n", "\r", "\u2028", "\x0b", "\x85", "\0", "\ufeff", "\u200b"]
WORDS = ["x", "", " ", "deal", "é", "\udcfc", "sep=;", "_x", "=1"]
PIECES = [*NUMBERS, *QUOTES, *BREAKS, *WORDS]
CELL = st.lists(st.sampled_from(PIECES), max_size=2).map("".join)
ROW = st.lists(CELL, min_size=1, max_size=4) | st.sampled_from([["5", "6", "ok"], ["5", "7.0", "ok"]])
HEADERS = [
    ["deal", "contact", "note"],
    ["note", "deal\u200b", "contact"],
    ["deal", "deal id", "contact"],
    ["deal", "contact", "_x", "_extra"],
    ["contact", "deal", '"no\nte"'],
]
HEADER = st.sampled_from(HEADERS)


@given(
    rows=st.tuples(st.lists(ROW, max_size=1), st.lists(HEADER, max_size=1), st.lists(ROW, max_size=6)).map(
        lambda parts: [row for part in parts for row in part]
    ),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    also=st.frozensets(st.sampled_from(["cp1252", "thousands", "duplicates"])),
)
@hypothesis_settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_the_table_no_row_is_lost_no_id_is_another_and_mending_again_changes_nothing(
    memory: Path, rows: list[list[str]], delimiter: str, end: str, also: frozenset[str]
) -> None:
    path, out, again = memory / "in.csv", memory / "out.csv", memory / "again.csv"
    path.write_bytes(end.join(map(delimiter.join, rows)).encode("utf-8", "surrogateescape"))
    try:
        before = judged(path)
    except InputError:
        before = None
    try:
        result = fix(str(path), str(out), settings(), also)
    except InputError:
        assert before is None, "what can be read can be mended"
        return

    after = judged(out)
    assert result.rows == len(after) + result.rules["duplicate"]
    if before is not None:
        assert result.rows == len(before)
        assert {one.key for one in before if isinstance(one, Pair)} <= {
            one.key for one in after if isinstance(one, Pair)
        }
    fix(str(out), str(again), settings(), also)
    assert again.read_bytes() == out.read_bytes()


def test_it_says_how_the_file_was_written_and_writes_it_plainly(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("deal;contact\r\n1;2\r\n".encode("utf-16"))

    result, out = mended(path)

    assert out == b"deal;contact\n1;2\n"
    assert changes(tmp_path) == [
        ["1", "", "a byte order mark", "", "bom"],
        ["1", "", "UTF-16", "UTF-8", "encoding"],
        ["1", "", "CRLF", "LF", "line_ends"],
    ]
    assert (result.rows, result.mended, result.left) == (1, 0, 0)


def test_a_change_says_column_before_and_after_and_runs_in_no_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('Deal ID,Contact ID\n="12",oops\n="12",3.0\n')

    result, _ = mended(path)

    assert changes(tmp_path) == [
        ["2", "Contact ID", "oops", "oops", "left: contact_id is not a whole number"],
        ["3", "Deal ID", '\'="12"', "12", "formula"],
        ["3", "Contact ID", "3.0", "3", "decimal"],
    ]
    assert (result.rows, result.mended, result.left) == (2, 1, 1)
    assert dict(result.rules) == {"left": 1, "formula": 1, "decimal": 1}


def test_a_file_without_a_header_has_none_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('="1";2.0\n3;4\nx;5\n')

    _, out = mended(path)

    assert out == b"1;2\n3;4\nx;5\n"
    assert changes(tmp_path)[0] == ["1", "opportunity_id", '\'="1"', "1", "formula"]


def test_a_first_row_that_may_be_data_is_not_dropped_as_a_title(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("1,2,x\ndeal,contact,note\n3,4,y\n")

    with pytest.raises(InputError, match="has no column opportunity_id and contact_id; found: 1, 2, x"):
        mended(path)
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]


def test_columns_that_we_wrote_ourselves_go_over_and_what_is_beyond_stays_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "rejected.csv"
    path.write_text("deal,contact,_line,_reason,_extra\n1.0,2,5,x,\n3,4,6,y,more\n5,6\n")

    result, out = mended(path)

    assert out == b"deal,contact,_line,_reason,_extra\n1,2,5,x,\n3,4,6,y,more\n5,6\n"
    assert (result.mended, result.left) == (1, 1)


def test_two_columns_that_are_both_the_same_id_and_differ_are_left(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("Deal ID,deal,contact\n1,1,2\n1,3,2.0\n")

    result, out = mended(path)

    assert out == path.read_bytes()
    assert result.left == 1
    assert changes(tmp_path)[0][4] == "left: Deal ID and deal differ"


def test_which_of_two_columns_is_the_id_is_not_decided_by_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("Deal ID,deal,contact\n\n1,3,2\n")

    with pytest.raises(InputError, match="more than one column could be opportunity_id"):
        mended(path)
    assert way_out(str(path), settings()) == ""


def test_columns_and_delimiter_that_are_named_are_taken_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("title\na:b:b\n1:2.0:3\n")

    _, out = mended(path, delimiter=":", columns={"opportunity": "#3", "contact": "#2"})

    assert out == b"a:b:b\n1:2:3\n"


def test_a_delimiter_that_only_excel_was_told_of_gives_way_to_one_that_shows(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('sep=:\ndeal:contact:note\n1:2:"a,b"\n')

    _, out = mended(path)

    assert out == b'deal,contact,note\n1,2,"a,b"\n'


def test_a_sheet_becomes_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    rows = [
        ("Export",),
        (),
        ("Deal ID", "Contact ID", "Note"),
        (7, "8.0", "x"),
        (),
        (9, 10),
        (1, "oops", None, "y"),
    ]
    path.write_bytes(workbook({"Notes": [("nothing",)], "Pairs": rows}))

    result, out = mended(path, sheet="Pairs")

    assert out == b"Deal ID,Contact ID,Note\n7,8,x\n9,10,\n1,oops,,y\n"
    assert [(row[0], row[4].partition(":")[0]) for row in changes(tmp_path)] == [
        ("1", "before_header"),
        ("2", "blank"),
        ("4", "decimal"),
        ("5", "blank"),
        ("7", "left"),
    ]
    assert (result.rows, result.mended, result.left) == (3, 1, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"deal": 1, "contact": 2}\n', "has an object a line"),
        (b"deal,contact\n1," + b"2" * 2_000_000 + b"\n3,4\n", "line longer than 1 MiB: line 2; nothing"),
        (b"", "is empty"),
        (b"\xff\xfed\0e\0a\0l\0,\0c\0o\0n\0t\0a\0c\0t\0\n\0\x00\xd8\n\0", "is not valid UTF-16"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_refused_and_leaves_nothing(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(data)

    with pytest.raises(InputError, match=reason):
        mended(path)
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]
    assert way_out(str(path), settings()) == "" or reason not in {"has an object a line", "is empty"}


@pytest.mark.parametrize("output", ["out.txt", "-", "fixes.csv", "in.csv", "x/../in.csv", "sub/../in.CSV"])
def test_nothing_else_is_overwritten(tmp_path: Path, output: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text("deal,contact\n1,2\n")
    (tmp_path / "x").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "in.CSV").hardlink_to(path)

    with pytest.raises(UsageError, match="--fix"):
        fix(str(path), str(tmp_path / output), settings(), frozenset())
    with pytest.raises(UsageError, match="--fix"):
        fix("-", "fixes.csv", settings(), frozenset())
    assert path.read_text() == "deal,contact\n1,2\n"


def test_an_input_that_has_the_name_of_the_list_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "fixes.csv"
    path.write_text("deal,contact\n1,2\n")

    with pytest.raises(UsageError, match="is the input itself"):
        mended(path)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("deal,contact\n1,2\n")

    with pytest.raises(OutputError, match=r"no/out\.csv: No such file or directory; the input is as it was"):
        fix(str(path), str(tmp_path / "no" / "out.csv"), settings(), frozenset())


def test_what_is_mended_besides_is_named() -> None:
    assert parse_also(None) == frozenset()
    assert parse_also("thousands, cp1252") == {"thousands", "cp1252"}
    with pytest.raises(UsageError, match="'guess' is none of cp1252, cp1251, thousands, duplicates"):
        parse_also("guess")
    with pytest.raises(UsageError, match="not both"):
        parse_also("cp1251,cp1252")


def test_standard_input_is_not_read_to_see_what_would_mend_it() -> None:
    assert way_out("-", settings()) == ""


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("head", ["", "\n\n"])
def test_utf_16_without_a_mark_is_refused_with_the_way_out_and_mended(
    tmp_path: Path, codec: str, head: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(f"{head}deal;contact;note\n1;2;Größe\n".encode(codec))

    assert "check" in way_out(str(path), settings())
    result, out = mended(path)
    assert out == "deal;contact;note\n1;2;Größe\n".encode()
    assert result.rules["encoding"] == 1


def test_a_file_with_nothing_but_a_few_nuls_is_no_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"deal,contact\n1,2\0\n3,4\n")

    assert mended(path)[0].rules == {"invisible": 1}
    assert pairs_of(tmp_path / "out.csv") == [(1, 2), (3, 4)]


def test_an_empty_cell_of_a_sheet_is_named_with_what_may_have_left_it_so(tmp_path: Path) -> None:
    path = tmp_path / "in.xlsx"
    path.write_bytes(workbook({"Pairs": [("deal", "contact"), (1, 2), (None, 3), ("x", 4)]}))

    assert suspicions(path) == [(3, "empty_cell")]
