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
        "broken": "",
    }
    assert "line 5" not in done.err


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        (
            "a.csv",
            "1\t2\n",
            "opportunity_id: opportunity_id (column 1), contact_id: contact_id (column 2); tabs, UTF-8",
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


def test_a_column_and_a_delimiter_that_were_named_are_said_too(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a:b:b\n1:2:3\n")

    done = command("check", "a.csv", "--columns", "opportunity=#3,contact=a", "--delimiter", ":")

    assert done.out.splitlines()[1] == "  opportunity_id: b (column 3), contact_id: a (column 1); :, UTF-8"


def test_the_text_at_fault_is_one_harmless_line_and_not_too_long(command: "Command", tmp_path: Path) -> None:
    data = b"deal,contact\n1,\x1b[2J\r\n2,\xff\n3," + b"x" * 1000 + b'\n4,"a\nb"\n5,"open\n'
    (tmp_path / "pairs.csv").write_bytes(data)

    out = command("check", "pairs.csv").out

    assert out.count("\n") == len(out.splitlines()) == 7
    assert all(line.isprintable() and len(line) < 120 for line in out.splitlines())
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
