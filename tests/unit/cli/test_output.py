"""What goes where: results to standard output, notes to standard error, and nothing raw to a terminal."""

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ONE_BY_ONE
from worker.cli.output import answer, complain, draw, hand_over, say, shown
from worker.errors import Exit, OutputError, UsageError
from worker.run.preflight import Preflight
from worker.settings import load_settings

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

NASTY = "a\x1b[2J\nrun faked: completed, exit code 0\r\x07\u202e.csv"
PAIRS = "Deal ID,Contact ID\n1,2\n1,02\n1,x\n"


class Full(io.TextIOWrapper):
    """A stream on a full disk that has a descriptor of its own."""

    def __init__(self, path: Path, number: int = errno.ENOSPC) -> None:
        super().__init__(path.open("wb"))
        self._number = number

    def flush(self) -> None:
        if os.fstat(self.fileno()).st_rdev != Path(os.devnull).stat().st_rdev:
            raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("stream", ["out", "err"])
def test_a_text_of_somebody_else_is_one_line_that_moves_nothing(
    capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    settings = load_settings({})
    if stream == "out":
        answer(settings, [NASTY], "{}")
    else:
        say(settings, NASTY)
        complain(NASTY)

    printed = getattr(capsys.readouterr(), stream)
    lines = printed.splitlines()
    assert len(lines) == (1 if stream == "out" else 2)
    assert all(line.isprintable() and r"a\x1b[2J\nrun faked" in line for line in lines)


def test_a_note_takes_the_place_of_a_line_that_is_being_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    draw("\r1/2 rows")
    say(load_settings({}), "run one: files in runs/one")
    draw("\r2/2 rows\n")
    complain("stopped")

    said = capsys.readouterr().err
    assert said == "\r1/2 rows\r\x1b[Krun one: files in runs/one\n\r2/2 rows\nbulklink: stopped\n"


def test_an_error_is_one_line_also_in_the_report() -> None:
    assert str(UsageError(NASTY)).isprintable()
    assert str(UsageError("plain: 'é' — ok")) == "plain: 'é' — ok"


def test_quiet_prints_no_result_and_no_note_but_json_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = load_settings({"quiet": True})
    say(quiet, "a note")
    answer(quiet, ["a result"], "{}")
    assert capsys.readouterr() == ("", "")

    answer(load_settings({"quiet": True, "json": True}), ["a result"], "{}")
    complain("wrong")
    assert capsys.readouterr() == ("{}\n", "bulklink: wrong\n")


def test_json_has_standard_output_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    answer(load_settings({"json": True}), ["a result"], '{\n"a": 1}\n')

    assert capsys.readouterr() == ('{\n"a": 1}\n', "a result\n")


def test_a_full_standard_output_is_one_line_that_says_where_the_same_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Full(tmp_path / "out") as full:
        monkeypatch.setattr(sys, "stdout", full)

        with pytest.raises(OutputError) as caught:
            hand_over("{}", kept="runs/x/report.json")

    assert str(caught.value) == ("standard output: No space left on device; runs/x/report.json has the same")
    assert caught.value.exit_code is Exit.CRASH


def test_a_reader_that_has_left_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Full(tmp_path / "out", errno.EPIPE) as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        hand_over("one")
        hand_over("two")


def test_a_standard_error_that_cannot_be_written_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Full(tmp_path / "err") as full:
        monkeypatch.setattr(sys, "stderr", full)
        say(load_settings({}), "a note")
        complain("wrong")
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    complain("nobody hears it")
    hand_over("nobody gets it")


def test_a_path_is_shown_whole_when_the_folder_we_are_in_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert shown(here / "runs") == "runs"
    here.rmdir()
    assert shown(here / "runs") == str(here / "runs")


@pytest.mark.parametrize("verb", [("check",), ("run", "-n")])
def test_what_is_in_an_input_goes_to_standard_output_with_its_name_harmless(
    command: "Command", tmp_path: Path, verb: tuple[str, ...]
) -> None:
    (tmp_path / NASTY.replace("/", "")).write_text(PAIRS)

    done = command(*verb, NASTY)

    assert (done.code, done.err) == (3, "")
    assert done.out.splitlines()[0].endswith(r"\u202e.csv: 3 rows, 1 pair, 1 duplicate, 1 invalid")
    assert all(line.isprintable() for line in done.out.splitlines())


def test_check_with_json_keeps_its_words_out_of_the_way(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(PAIRS)

    done = command("check", "pairs.csv", "--json")

    assert json.loads(done.out)["rows"] == 3
    assert done.err.startswith("pairs.csv: 3 rows")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n", "1 row, 1 pair"),
        ("1,2\n1,2\n", "2 rows, 1 pair, 1 duplicate"),
        ("x,2\n", "1 row, 1 invalid"),
        ("", "no rows"),
    ],
)
def test_zeros_are_not_told(command: "Command", tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pairs.csv").write_text(f"deal,contact\n{text}")

    assert command("check", "pairs.csv").out.splitlines()[0] == f"pairs.csv: {said}"


POST = "would send {} to https://portal.example at {}"
LOOK = "would look for {} at https://portal.example and send what is not there: at most {} requests at {}"


@pytest.mark.parametrize(
    ("rows", "rate", "way", "plan"),
    [
        (1, "500/10s", ONE_BY_ONE, POST.format("1 request", "500/10s")),
        (100, "500/10s", ONE_BY_ONE, POST.format("100 requests", "500/10s, in 2 s or more")),
        (150, "1/s", ONE_BY_ONE, POST.format("150 requests", "1/s, in 2 min or more")),
        (200, "1/m", ONE_BY_ONE, POST.format("200 requests", "1/m, in 3 h 20 min or more")),
        (2, "500/10s", (), LOOK.format("2 pairs", 4, "500/10s")),
        (
            200,
            "10/s",
            (),
            LOOK.format(
                "200 pairs", 400, "10/s, in 40 s or more if none is there; a fraction of that in batches"
            ),
        ),
        (
            200,
            "10/s",
            ("--transport", "single"),
            LOOK.format("200 pairs", 400, "10/s, in 40 s or more if none is there"),
        ),
    ],
)
def test_a_dry_run_says_how_long_it_would_take_if_that_is_worth_a_word(
    command: "Command",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    rate: str,
    way: tuple[str, ...],
    plan: str,
) -> None:
    (tmp_path / "pairs.csv").write_text("deal,contact\n" + "".join(f"{n},1\n" for n in range(1, rows + 1)))

    words = ("--portal", "https://portal.example", "--rate", rate, *way)
    monkeypatch.setattr(
        "worker.run.preflight.look_at_portal", lambda settings, *_: Preflight(settings.portal)
    )
    done = command("run", "pairs.csv", "-n", *words)

    assert done.out.splitlines()[2:4] == [
        f"  {plan}",
        "https://portal.example: an unknown product, CRM visible, as somebody it does not name",
    ]
