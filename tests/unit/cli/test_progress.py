"""How a run goes, on standard error: a bar on a terminal, lines elsewhere."""

import io
from collections import Counter
from collections.abc import Callable
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
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
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
    progress("auto", quiet=False)(tally(1, 2))
    assert terminal.getvalue().startswith("\r[")

    file = io.StringIO()
    for room in (module, output):
        monkeypatch.setattr(room, "sys", SimpleNamespace(stderr=file))
    show = progress("auto", quiet=False)
    clock.now += PLAIN_EVERY
    show(tally(1, 2))
    assert file.getvalue() == "bulklink: 1/2+ rows, 1 linked, 0/s\n"


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
    progress("bar", quiet=False)(tally(1, 2))
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


def test_the_bar_grows_with_the_share_of_rows(terminal: Terminal) -> None:
    show = progress("bar", quiet=False)
    for done in (0, 50, 99, 100):
        show(tally(done, 100, complete=True))

    bars = [line[1:21] for line in terminal.getvalue().split("\r")[1:]]
    assert bars == [" " * 20, "#" * 10 + " " * 10, "#" * 19 + " ", "#" * 20]


def test_the_bar_is_empty_while_nobody_knows_how_many_rows_there_are(terminal: Terminal) -> None:
    show = progress("bar", quiet=False)
    show(tally(50, 100))
    show(tally(0, 0, complete=True))

    assert [line[1:21] for line in terminal.getvalue().split("\r")[1:]] == [" " * 20] * 2


def test_the_bar_is_redrawn_in_place_and_ends_with_the_line(terminal: Terminal) -> None:
    show = progress("bar", quiet=False)
    show(tally(1, 2, complete=True, note="SIGINT: finishing"))
    show(tally(2, 2, complete=True, ended=True))

    assert terminal.getvalue() == (
        "\r[##########          ] 1/2 rows, 1 linked, 0/s  SIGINT: finishing\x1b[K"
        "\r[####################] 2/2 rows, 2 linked, 0/s\x1b[K\n"
    )


def test_a_line_tells_what_failed_and_was_throttled(terminal: Terminal) -> None:
    counts = Counter(dict.fromkeys(Status, 1000))
    progress("bar", quiet=False)(
        RunTally(rows=9000, complete=True, settled=counts, settled_here=500, throttled=1234, seconds=2.0)
    )

    assert (
        "8,000/9,000 rows, 1,000 linked, 1,000 linked before, 4,000 failed, 250/s, 1,234 throttled,"
        " about 0:04 left"
    ) in terminal.getvalue()


@pytest.mark.parametrize(
    ("left", "told"), [(59, "0:59"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (360_061, "100:01:01")]
)
def test_the_time_left_is_by_the_pace_of_this_session(terminal: Terminal, left: int, told: str) -> None:
    progress("bar", quiet=False)(tally(10, 10 + left, complete=True, seconds=10.0))

    assert f", 1/s, about {told} left" in terminal.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        lambda: tally(10, 20, seconds=10.0),  # not read to its end
        lambda: tally(0, 20, complete=True, seconds=10.0),  # no pace yet
        lambda: tally(20, 20, complete=True, seconds=10.0),  # nothing left
    ],
)
def test_no_time_is_told_where_none_is_known(terminal: Terminal, make: Callable[[], RunTally]) -> None:
    progress("bar", quiet=False)(make())

    assert "left" not in terminal.getvalue()


def test_a_line_about_a_visit_tells_links_and_their_pace(stream: io.StringIO, clock: Clock) -> None:
    show = progress("plain", quiet=False)
    for done, seconds in ((0, 0.0), (4_500, 9.0)):
        clock.now += PLAIN_EVERY
        show(LinkTally(total=10_000, done=done, seconds=seconds))

    assert stream.getvalue() == "bulklink: 0/10,000 links, 0/s\nbulklink: 4,500/10,000 links, 500/s\n"


def test_the_bar_of_a_visit_grows_with_the_share_of_links_and_ends_with_the_line(terminal: Terminal) -> None:
    show = progress("bar", quiet=False)
    show(LinkTally(total=0))
    show(LinkTally(total=4, done=2, seconds=1.0, note="the portal fails"))
    show(LinkTally(total=4, done=4, seconds=1.0, ended=True))

    assert terminal.getvalue() == (
        "\r[                    ] 0/0 links, 0/s\x1b[K"
        "\r[##########          ] 2/4 links, 2/s  the portal fails\x1b[K"
        "\r[####################] 4/4 links, 4/s\x1b[K\n"
    )
