"""``check``: what it says of an input, in words and as JSON."""

import errno
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from worker.run import distinct

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

BAD = "Deal ID;Contact ID;Note\r\n1;2;\r\n;;\r\n\r\n3;4;zu;viel\r\n1;\xfc;\r\n0;5\r\n1;02\r\n7;\r\n"


def test_every_bad_line_is_named_with_the_text_that_is_at_fault(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(BAD.encode("utf-8-sig"))

    done = command("check", "pairs.csv")

    assert (done.code, done.err) == (3, "")
    form = (
        "opportunity_id: Deal ID (column 1), contact_id: Contact ID (column 2); semicolons, UTF-8 with a BOM"
    )
    assert done.out.splitlines() == [
        "pairs.csv: 6 rows, 1 pair, 1 duplicate, 4 invalid, 2 blank lines",
        f"  {form}",
        "  line 5: row has 1 cell more than the header: 3;4;zu;viel",
        "  line 6: contact_id is not a whole number: \xfc",
        "  line 7: opportunity_id is 0: 0",
        "  line 9: contact_id is empty",
    ]


def test_there_is_no_end_to_the_bad_lines_that_are_named(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n" + "".join(f"{n},x{n}\n" for n in range(1, 3001)))

    lines = command("check", "pairs.csv").out.splitlines()
    faults = json.loads(command("check", "pairs.csv", "--json", "-q").out)["faults"]

    assert lines[2:] == [f"  line {n + 1}: contact_id is not a whole number: x{n}" for n in range(1, 3001)]
    assert faults == [
        {"row": n, "line": n + 1, "reason": "contact_id is not a whole number", "text": f"x{n}"}
        for n in range(1, 3001)
    ]


def test_a_script_is_told_the_same(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(BAD.encode("utf-16"))

    done = command("check", "pairs.csv", "--json")

    told = json.loads(done.out)
    assert [(fault.pop("row"), fault.pop("line")) for fault in told["faults"]] == [
        (2, 5),
        (3, 6),
        (4, 7),
        (6, 9),
    ]
    assert told.pop("faults")[1] == {"reason": "contact_id is not a whole number", "text": "\xfc"}
    assert told == {
        "name": "pairs.csv",
        "format": "csv",
        "header": True,
        "columns": ["Deal ID", "Contact ID", "Note"],
        "ids": {
            "opportunity": {"name": "Deal ID", "number": 1},
            "contact": {"name": "Contact ID", "number": 2},
        },
        "delimiter": ";",
        "encoding": "utf-16-le",
        "bom": True,
        "line_end": "\r\n",
        "rows": 6,
        "blank": 2,
        "pairs": 1,
        "duplicates": 1,
        "invalid": 4,
        "not_utf8": {"cells": 0, "line": None, "column": ""},
        "broken": "",
        "suspicions": [],
    }
    assert "line 5" not in done.err


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        (
            "a.csv",
            "1\t2\n",
            (
                "opportunity_id: opportunity_id (column 1), contact_id: contact_id (column 2);"
                " no header, tabs, UTF-8"
            ),
        ),
        (
            "a.csv",
            "_x|deal|contact\n",
            "opportunity_id: deal (column 2), contact_id: contact (column 3); bars, UTF-8",
        ),
        ("a.jsonl", '{"deal": 1}\n', "opportunity_id: deal, no contact_id; an object a line, UTF-8"),
    ],
)
def test_what_was_chosen_is_said(command: "Command", tmp_path: Path, name: str, text: str, form: str) -> None:
    (tmp_path / name).write_text(text)

    assert command("check", name).out.splitlines()[1] == f"  {form}"


def test_a_script_is_told_that_there_is_no_header(command: "Command", tmp_path: Path) -> None:
    """Which of the two columns is which was taken from their order alone."""
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")

    assert json.loads(command("check", "a.csv", "--json", "-q").out)["header"] is False


def test_a_column_and_a_delimiter_that_were_named_are_said_too(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a:b:b\n1:2:3\n")

    done = command("check", "a.csv", "--columns", "opportunity=#3,contact=a", "--delimiter", ":")

    assert done.out.splitlines()[1] == "  opportunity_id: b (column 3), contact_id: a (column 1); :, UTF-8"


def test_the_text_at_fault_is_one_harmless_line_and_not_too_long(command: "Command", tmp_path: Path) -> None:
    data = b"deal,contact\n1,\x1b[2J\r\n2,\xff\n3," + b"x" * 1000 + b'\n4,"a\nb"\n5,"open\n'
    (tmp_path / "pairs.csv").write_bytes(data)

    out = command("check", "pairs.csv").out

    assert out.count("\n") == len(out.splitlines()) == 8
    assert all(line.isprintable() for line in out.splitlines())
    assert all(len(line) < 120 for line in out.splitlines() if "code page" not in line)
    assert out.splitlines()[-1] == "  line 7: unclosed quote: " + repr('5,"open')[1:-1]


def test_of_an_input_that_breaks_off_what_was_read_is_told_and_then_the_break(
    command: "Command", tmp_path: Path
) -> None:
    rows = "".join(f"{n},{n * 7919 % 10007}\n" for n in range(1, 1001))
    packed = gzip.compress(f"deal,contact\n{rows}x,1\n".encode())
    (tmp_path / "pairs.csv.gz").write_bytes(packed[:-1000])

    done = command("check", "pairs.csv.gz")
    told = json.loads(command("check", "pairs.csv.gz", "--json").out)

    assert done.code == 2
    assert done.out.startswith(f"pairs.csv.gz: {told['rows']} rows, {told['rows']} pairs\n")
    assert done.err == f"bulklink: {told['broken']}\n"
    assert told["broken"].endswith(f"is cut short: its gzip data has no end (after line {told['rows'] + 1})")


def test_a_pair_is_a_duplicate_however_far_above_it_stood_first(
    command: "Command", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distinct, "_HELD", 50)
    rows = [f"{n},{n * 7919 % 10007}\n" for n in range(1, 201)]
    (tmp_path / "pairs.csv").write_text("deal,contact\n" + "".join([*rows, "x,1\n", rows[0], f"0{rows[7]}"]))

    said = command("check", "pairs.csv").out

    assert said.startswith("pairs.csv: 203 rows, 200 pairs, 2 duplicates, 1 invalid\n")


def test_a_disk_without_room_is_said_in_one_line(
    command: "Command", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\nx,2\n")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(distinct.Distinct, "count", Mock(side_effect=full))

    done = command("check", "pairs.csv")

    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"bulklink: {tempfile.gettempdir()}: No space left on device;"
        " make room, or name another folder in TMPDIR\n"
    )


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_an_input_without_faults_has_none(command: "Command", tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n1,2\n")

    done = command("check", "pairs.csv", *words)

    assert done.code == 0
    if words:
        assert json.loads(done.out)["faults"] == []
    else:
        assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize("words", [("check", "pairs.csv"), ("run", "pairs.csv", "-n")])
def test_quiet_says_in_one_line_why_the_exit_code_is_not_0(
    command: "Command", tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n1,2\n1,x\n,3\n")

    done = command(*words, "-q")
    assert (done.code, done.out, done.err) == (3, "", "bulklink: pairs.csv: exit code 3: 2 invalid\n")
    assert command(*words, "-q", "--json").err == done.err

    (tmp_path / "pairs.csv").write_text("deal,contact\n1,2\n")
    done = command(*words, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_of_a_mended_copy_it_is_the_copy_that_is_named(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "ill.csv").write_text("deal,contact\n1.0,2\n1,x\n")

    done = command("check", "ill.csv", "--fix", "well.csv", "-q")

    assert (done.code, done.out, done.err) == (3, "", "bulklink: well.csv: exit code 3: 1 invalid\n")


ILL = (
    "Export of today\n"
    "Deal ID;Contact ID;Note\n"
    '="1234";88.0;first\n'
    ";;\n"
    "1234;1.23E+05;\n"
    '1234;89;"a\n'
    "1234;90;b\n"
    '1234;91;c"\n'
    "1234;gr\udcfcn;92\n"
)

FORM = "opportunity_id: Deal ID (column 1), contact_id: Contact ID (column 2)"
ROUNDED = "a spreadsheet has rounded it, its digits are gone: take them from where it came from"
SWALLOWED = "in a cell that a quote opens and closes too late: mend the quotes"
SWAPPED = "if that is the id, --columns contact=Note"
READS = "check --fix OUT.csv --fix-also cp1252 (Western) or cp1251 (Cyrillic) reads them in that code page"
NOT_TEXT = "kept as they are: --fix-also cp1252 (Western) or cp1251 (Cyrillic) reads them in that code page"


def test_what_is_suspicious_is_named_with_its_cell_and_what_to_do(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "ill.csv").write_bytes(ILL.partition("\n")[2].encode("utf-8", "surrogateescape"))

    words = command("check", "ill.csv").out.splitlines()
    told = json.loads(command("check", "ill.csv", "--json", "-q").out)

    assert words[1] == f"  {FORM}; semicolons, UTF-8 but for 1 cell"
    what = "1 cell with bytes that are not UTF-8, kept as it is, in line 8 (Contact ID)"
    assert words[2] == f"  {what}: {READS.replace('them', 'it')}"
    assert words[3:] == [
        '  line 2: opportunity_id is not a whole number: ="1234"',
        '  line 2: Deal ID ="1234": check --fix OUT.csv makes 1234 of it',
        "  line 2: Contact ID 88.0: check --fix OUT.csv makes 88 of it",
        "  line 4: contact_id is not a whole number: 1.23E+05",
        f"  line 4: Contact ID 1.23E+05: {ROUNDED}",
        f"  line 5: Note 1234;90;b: 2 lines look like rows, {SWALLOWED}",
        "  line 8: contact_id is not a whole number: 'gr\\udcfcn'",
        f"  line 8: Contact ID 'gr\\udcfcn': 'Note' has a number here: {SWAPPED}",
    ]
    assert [fault["line"] for fault in told["faults"]] == [2, 4, 8]
    assert [(one["row"], one["line"], one["column"], one["kind"]) for one in told["suspicions"]] == [
        (1, 2, "Deal ID", "mendable"),
        (1, 2, "Contact ID", "mendable"),
        (2, 4, "Contact ID", "scientific"),
        (3, 5, "Note", "swallowed"),
        (4, 8, "Contact ID", "swapped"),
    ]
    assert told["suspicions"][2] == {
        "row": 2,
        "line": 4,
        "column": "Contact ID",
        "text": "1.23E+05",
        "kind": "scientific",
        "advice": ROUNDED,
    }


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        (
            b'deal,contact,note\n1,2,M\xc3\xbcller\n1,3,M\xfcller\n1,4,"a\nb\xe9"\n1,5,\xe9,\xe9\n',
            "commas, UTF-8 but for 4 cells",
            f"4 cells with bytes that are not UTF-8, kept as they are, the first in line 3 (note): {READS}",
        ),
        (
            b"deal;contact;f\xfcr\n1;2;ok\n",
            "semicolons, UTF-8 but for 1 cell",
            f"1 cell with bytes that are not UTF-8, kept as it is, in the header (column 3): {READS}".replace(
                "them", "it"
            ),
        ),
        (b'deal,contact,note\n1,2,M\xc3\xbcller\n1,3,"\xed\x95\x9c"\n', "commas, UTF-8", ""),
    ],
)
def test_bytes_of_a_code_page_are_said_wherever_they_stand(
    command: "Command", tmp_path: Path, data: bytes, form: str, said: str
) -> None:
    """Also in columns that nobody needs: they come back as they were, and look wrong to a reader of UTF-8."""
    (tmp_path / "pairs.csv").write_bytes(data)

    lines = command("check", "pairs.csv").out.splitlines()
    told = json.loads(command("check", "pairs.csv", "--json", "-q").out)["not_utf8"]

    assert lines[1].endswith(f"; {form}")
    assert [line for line in lines if "not UTF-8" in line] == ([f"  {said}"] if said else [])
    assert told["cells"] == (int(form.split()[-2]) if said else 0)
    where = (3, "note") if "(note)" in said else (None, "f\udcfcr" if said else "")
    assert (told["line"], told["column"]) == where


def test_what_is_advised_of_bytes_of_a_code_page_helps(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"deal,contact,note\n1,2,M\xfcller\n")

    done = command("check", "pairs.csv", "--fix", "well.csv")
    assert done.out.count("code page") == 1
    assert done.out.splitlines()[-1].endswith("; commas, UTF-8 but for 1 cell")
    done = command("check", "pairs.csv", "--fix", "well.csv", "--fix-also", "cp1252")
    assert done.out.splitlines()[-1].endswith("; commas, UTF-8")
    assert (tmp_path / "well.csv").read_text(encoding="utf-8") == "deal,contact,note\n1,2,Müller\n"


def test_a_line_of_json_in_a_code_page_is_not_advised_what_is_refused(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(b'{"deal": 1, "contact": 2}\n{"deal": 1, "note": "M\xfcller"}\n')

    lines = command("check", "pairs.jsonl").out.splitlines()

    assert lines[1].endswith("; an object a line, UTF-8 but for 1 line")
    assert lines[2] == "  1 line with bytes that are not UTF-8, line 2: save the file as UTF-8"


def test_a_header_that_is_further_down_is_found_for_whoever_has_it_mended(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "ill.csv").write_bytes(ILL.encode("utf-8", "surrogateescape"))

    done = command("check", "ill.csv")

    assert done.code == 2
    assert done.err.endswith(
        ". But its header is in line 2: bulklink check ill.csv --fix OUT.csv mends that\n"
    )


def test_a_mended_copy_is_written_listed_and_checked_again(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "ill.csv").write_bytes(ILL.encode("utf-8", "surrogateescape"))

    done = command("check", "ill.csv", "--fix", "well.csv")

    assert (done.code, done.err) == (3, "")
    assert done.out.splitlines()[:5] == [
        "ill.csv: 4 rows, 1 mended, 2 left as they are; each change is in fixes.csv",
        "  1 x before_header, 1 x formula, 1 x decimal, 1 x blank, 2 x left",
        f"  1 cell with bytes that are not UTF-8, {NOT_TEXT}",
        "well.csv: 4 rows, 2 pairs, 2 invalid",
        f"  {FORM}; semicolons, UTF-8 but for 1 cell",
    ]
    assert (tmp_path / "well.csv").read_bytes().startswith(b"Deal ID;Contact ID;Note\n1234;88;first\n")

    again = command("check", "well.csv", "--fix", "better.csv", "--fix-also", "cp1252", "--json", "-q")
    told = json.loads(again.out)
    assert told["fix"] == {
        "input": "well.csv",
        "output": "better.csv",
        "fixes": "fixes.csv",
        "rows": 4,
        "mended": 0,
        "left": 2,
        "not_text": 0,
        "rules": {"left": 2, "cp1252": 1},
    }
    assert (told["name"], told["rows"], told["invalid"]) == ("better.csv", 4, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fix-also", "thousands"), "give both"),
        (("--fix", "out.csv", "--limit", "5"), "leave --limit out"),
        (("--fix", "out.csv", "--fix-also", "magic"), "'magic' is none of"),
        (("--fix", "out.xlsx"), "does not end in .csv"),
        (("--fix", "pairs.csv"), "is the input itself"),
    ],
)
def test_what_does_not_go_with_mending_is_refused(
    command: "Command", tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n1,2\n")

    done = command("check", "pairs.csv", *words)

    assert done.code == 2
    assert said in done.err
    assert [one.name for one in tmp_path.iterdir()] == ["pairs.csv"]


def test_the_advice_on_a_line_of_json_is_none_that_is_refused_when_it_is_followed(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"deal": 1.0, "contact": "1 234"}\n')

    said = command("check", "pairs.jsonl").out

    assert "write 1 in its place" in said
    assert "--fix" not in said
