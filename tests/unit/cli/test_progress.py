"""How a run goes, on standard error: a bar on a terminal, lines elsewhere."""

import io
import os
import signal
from collections import Counter
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from worker.cli import output
from worker.cli import progress as module
from worker.cli.progress import PLAIN_EVERY, progress
from worker.models import Status
from worker.tally import LinkTally, RunTally


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    for room in (module, output):
        monkeypatch.setattr(room, "sys", SimpleNamespace(stderr=stream))
    return stream


@pytest.fixture
def width(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Columns of the terminal; may be changed while it is drawn on."""
    size = {"columns": 100}
    monkeypatch.setattr(os, "get_terminal_size", lambda _: SimpleNamespace(**size))
    monkeypatch.setenv("TERM", "xterm")
    return size


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, width: dict[str, int]) -> Terminal:
    assert width["columns"]
    terminal = Terminal()
    for room in (module, output):
        monkeypatch.setattr(room, "sys", SimpleNamespace(stderr=terminal))
    return terminal


def tally(linked: int = 0, rows: int = 0, **changes: Any) -> RunTally:
    return RunTally(rows=rows, settled=Counter({Status.LINKED: linked}), settled_here=linked, **changes)


@pytest.mark.parametrize("kind", ["auto", "bar", "plain", "none"])
def test_quiet_shows_nothing(terminal: Terminal, clock: Clock, kind: Literal["auto", "bar", "plain"]) -> None:
    show = progress(kind, quiet=True)
    clock.now += 100
    show(tally(1, 2, note="stopping"))

    assert terminal.getvalue() == ""


def test_none_shows_nothing(terminal: Terminal, clock: Clock) -> None:
    show = progress("none", quiet=False)
    clock.now += 100
    show(tally(1, 2, note="stopping"))

    assert terminal.getvalue() == ""


def test_auto_is_a_bar_on_a_terminal_and_lines_elsewhere(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress("auto", quiet=False)(tally(1, 2, complete=True))
    assert terminal.getvalue().startswith("\r[")

    file = io.StringIO()
    for room in (module, output):
        monkeypatch.setattr(room, "sys", SimpleNamespace(stderr=file))
    show = progress("auto", quiet=False)
    clock.now += PLAIN_EVERY
    show(tally(1, 2))
    assert file.getvalue() == "bulklink: 1/2+ rows, 1 linked, 0 links/s\n"


def test_a_closed_standard_error_shows_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (module, output):
        monkeypatch.setattr(room, "sys", SimpleNamespace(stderr=None))
    for kind in ("auto", "bar", "plain"):
        show = progress(kind, quiet=False)
        clock.now += PLAIN_EVERY
        show(tally(1, 2, note="stopping"))


def test_a_bar_and_lines_can_be_had_anywhere(
    stream: io.StringIO, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress("bar", quiet=False)(tally(1, 2, complete=True))
    assert stream.getvalue().startswith("\r[")

    terminal = Terminal()
    for room in (module, output):
        monkeypatch.setattr(room, "sys", SimpleNamespace(stderr=terminal))
    show = progress("plain", quiet=False)
    clock.now += PLAIN_EVERY
    show(tally(1, 2))
    assert terminal.getvalue().startswith("bulklink: ")


def test_lines_come_now_and_then(stream: io.StringIO, clock: Clock) -> None:
    show = progress("plain", quiet=False)
    for second in range(1, 35):
        clock.now += 1
        show(tally(second, 100, complete=True))

    assert [line.split(" rows")[0] for line in stream.getvalue().splitlines()] == [
        "bulklink: 10/100",
        "bulklink: 20/100",
        "bulklink: 30/100",
    ]


def test_a_note_is_told_at_once_and_once(stream: io.StringIO, clock: Clock) -> None:
    show = progress("plain", quiet=False)
    for note in ("", "SIGTERM: finishing", "SIGTERM: finishing", "", "really"):
        clock.now += 1
        show(tally(1, 2, note=note))

    assert stream.getvalue() == "bulklink: SIGTERM: finishing\nbulklink: really\n"


def drawn(terminal: Terminal) -> list[str]:
    """What stood on the line each time that it was drawn."""
    lines = terminal.getvalue().split("\r")[1:]
    return [text.split("\x1b[K")[0].removeprefix("\x1b[J") for text in lines]


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_go_back_gets_lines(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    show = progress("auto", quiet=False)
    clock.now += PLAIN_EVERY
    show(tally(1, 2))

    assert terminal.getvalue() == "bulklink: 1/2+ rows, 1 linked, 0 links/s\n"


def test_the_line_is_redrawn_in_place_and_ends_with_the_last_one(terminal: Terminal) -> None:
    show = progress("bar", quiet=False)
    show(tally(1, 2, complete=True))
    show(tally(2, 2, complete=True, ended=True))

    assert terminal.getvalue() == (
        "\r[##########          ] 1/2 rows, 1 linked, 0 links/s\x1b[K"
        "\r[####################] 2/2 rows, 2 linked, 0 links/s\x1b[K\n"
    )


def test_a_line_that_says_nothing_new_is_not_drawn_again(terminal: Terminal) -> None:
    show = progress("bar", quiet=False)
    for _ in range(5):
        show(tally(1, 2, complete=True))

    assert len(drawn(terminal)) == 1


def test_a_note_stands_above_the_line_once_and_is_broken_between_words(
    terminal: Terminal, width: dict[str, int]
) -> None:
    width["columns"] = 40
    show = progress("bar", quiet=False)
    note = "SIGINT: finishing what is on its way, 25s at most; a second Ctrl-C does not wait for it"
    for _ in range(3):
        show(tally(1, 2, complete=True, note=note))

    above = terminal.getvalue().replace("\r", "").split("\x1b[K")
    assert " ".join(line.strip() for line in above[:-2]) == note
    assert all(len(line.strip("\n")) < 40 for line in above)


def test_no_line_is_as_wide_as_the_terminal_also_after_a_resize(
    terminal: Terminal, width: dict[str, int]
) -> None:
    counts = Counter(dict.fromkeys(Status, 1_000_000))
    busy = RunTally(
        rows=9_000_000,
        complete=True,
        settled=counts,
        settled_here=500,
        throttled=1234,
        retries=77,
        sent=5_000,
        in_flight=3,
        limit=4,
        pause_left=8.0,
        seconds=2.0,
    )
    show = progress("bar", quiet=False)
    for columns in (200, 120, 80, 60, 40, 25, 300):
        width["columns"] = columns
        show(busy)
        assert len(drawn(terminal)[-1]) < columns


def test_after_the_terminal_got_narrower_the_broken_line_is_taken_away(
    terminal: Terminal, width: dict[str, int]
) -> None:
    show = progress("bar", quiet=False)
    width["columns"] = 120
    show(tally(1, 2, complete=True, throttled=9, sent=9, seconds=1.0))
    before = len(drawn(terminal)[-1])
    width["columns"] = 30
    show(tally(2, 2, complete=True, throttled=9, sent=9, seconds=1.0))

    assert f"\x1b[{(before - 1) // 30}A\r\x1b[J" in terminal.getvalue()


def test_a_stream_without_a_width_is_taken_for_80_columns(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: int) -> None:
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", none)
    progress("bar", quiet=False)(tally(1, 2, throttled=9, retries=9, sent=9, limit=9, seconds=1.0))

    assert len(stream.getvalue().strip("\r").split("\x1b")[0]) < 80


def test_a_line_about_links_tells_their_number_and_pace(stream: io.StringIO, clock: Clock) -> None:
    show = progress("plain", quiet=False)
    for done, seconds in ((0, 0.0), (4_500, 9.0)):
        clock.now += PLAIN_EVERY
        show(LinkTally(total=10_000, done=done, seconds=seconds))

    assert stream.getvalue() == (
        "bulklink: 0/10,000 links, 0/s\nbulklink: 4,500/10,000 links, 500/s, about 0:11 left\n"
    )


@pytest.mark.parametrize("kind", ["bar", "plain", "none"])
@pytest.mark.parametrize("quiet", [True, False])
def test_the_line_is_told_when_it_is_asked_for(
    terminal: Terminal,
    capfd: pytest.CaptureFixture[str],
    kind: Literal["bar", "plain", "none"],
    quiet: bool,
) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        show = progress(kind, quiet=quiet)
        signal.raise_signal(signal.SIGUSR1)
        show(tally(1, 2, complete=True))
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert terminal.getvalue() or kind != "bar" or quiet
    asked = [line for line in capfd.readouterr().err.splitlines() if line]
    assert asked == ["bulklink: nothing has begun yet", "bulklink: 1/2 rows, 1 linked, 0 links/s"]
