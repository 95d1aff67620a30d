"""What a line about a run says, and what is left out where there is little room."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.status_line import Part, bar, done_of, fitted, line_of, parts_of, share_of
from worker.models import Status
from worker.tally import WINDOW, LinkTally, Pace, RunTally


def tally(linked: int = 0, rows: int = 0, **changes: Any) -> RunTally:
    return RunTally(rows=rows, settled=Counter({Status.LINKED: linked}), settled_here=linked, **changes)


def said(counts: RunTally | LinkTally, pace: Pace | None = None) -> str:
    if pace is None:
        pace = Pace()
        pace.observe(counts.seconds, done_of(counts), counts.sent)
    return line_of(parts_of(counts, pace))


def test_a_line_tells_all_that_there_is() -> None:
    counts = Counter(dict.fromkeys(Status, 1000))
    busy = RunTally(
        rows=9000, complete=True, settled=counts, settled_here=500, seconds=2.0,
        sent=600, throttled=1234, retries=7, in_flight=3, limit=4, pause_left=8.2,
    )  # fmt: skip

    assert said(busy) == (
        "8,000/9,000 rows, paused, 8s, 1,000 linked, 1,000 linked before, 3,000 failed,"
        " 1,000 unusable rows in the file, 250 links/s, 300 requests/s, 3 of 4 in flight, 7 retries,"
        " 1,234 throttled, about 0:04 left"
    )


def test_rows_that_are_unusable_stand_apart_from_pairs_that_failed() -> None:
    line = said(RunTally(rows=10, settled=Counter({Status.INVALID: 1})))

    assert "1 unusable row in the file" in line
    assert "failed" not in line


def test_one_retry_is_told_as_one() -> None:
    assert ", 1 retry," in said(tally(1, 2, retries=1, throttled=1))


def test_the_end_is_not_told_to_be_paused() -> None:
    assert "paused" not in said(tally(1, 2, pause_left=8.0, ended=True))
    assert "paused" not in said(tally(1, 2, pause_left=0.4))


@pytest.mark.parametrize(
    ("left", "told"), [(59, "0:59"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (360_061, "100:01:01")]
)
def test_the_time_left_is_by_the_pace(left: int, told: str) -> None:
    assert f", 1 links/s, about {told} left" in said(tally(10, 10 + left, complete=True, seconds=10.0))


@pytest.mark.parametrize(
    "counts",
    [
        tally(10, 20, seconds=10.0),  # not read to its end
        tally(0, 20, complete=True, seconds=10.0),  # no pace yet
        tally(20, 20, complete=True, seconds=10.0),  # nothing left
        LinkTally(done=5, seconds=1.0),  # nobody knows how many there are
    ],
)
def test_no_time_is_told_where_none_is_known(counts: RunTally | LinkTally) -> None:
    assert "left" not in said(counts)


def test_a_pace_is_that_of_the_last_minute() -> None:
    pace = Pace()
    for second in range(600):  # fast at first
        pace.observe(float(second), second * 100, second)
    for second in range(600, 600 + int(WINDOW) + 1):
        pace.observe(float(second), 60_000 + second - 600, 600)

    assert pace.links == pytest.approx(1.0, rel=0.1)
    assert pace.requests == pytest.approx(0.0, abs=0.1)


def test_a_pace_of_nothing_is_nothing_and_the_first_one_counts_from_the_beginning() -> None:
    pace = Pace()
    assert (pace.links, pace.requests) == (0.0, 0.0)
    pace.observe(0.0, 0, 0)
    assert (pace.links, pace.requests) == (0.0, 0.0)

    begun = Pace()
    begun.observe(2.0, 10, 4)
    assert (begun.links, begun.requests) == (5.0, 2.0)


def test_a_clock_that_begins_anew_begins_a_new_pace() -> None:
    pace = Pace()
    pace.observe(100.0, 1_000, 100)
    pace.observe(1.0, 3, 1)

    assert pace.links == 3.0


def test_work_that_goes_on_under_a_new_clock_is_no_sudden_pace() -> None:
    """A rollback removes, and then makes again what a sync removed: two clocks, and one count."""
    pace = Pace()
    pace.observe(100.0, 1_000, 300)
    pace.observe(2.0, 1_020, 306)

    assert (pace.links, pace.requests) == (10.0, 3.0)


def test_other_work_under_the_same_clock_has_a_pace_of_its_own() -> None:
    """A sync reads opportunities, and then removes links: one clock, and two counts."""
    pace = Pace()
    pace.observe(100.0, 1_000, 300)
    pace.observe(110.0, 50, 350)

    assert (pace.links, pace.requests) == (5.0, 5.0)


def test_what_became_of_links_is_told_and_what_somebody_has_to_see_to_is_left_out_last() -> None:
    parts = parts_of(
        LinkTally(total=9, done=6, found=Counter({"there": 4, "there_again": 2, "missing": 0})), Pace()
    )

    assert line_of(parts) == "6/9 links, 4 there, 2 there again, 0/s"
    assert fitted(parts, 27) == "6/9 links, 2 there again"


def test_what_earlier_sessions_published_says_nothing_of_the_pace() -> None:
    assert "1,010 published, 5/s" in said(LinkTally(done=1_010, before=1_000, seconds=2.0, unit="published"))


def test_what_weighs_least_is_left_out_first_and_the_order_stays() -> None:
    parts = [Part("most", 9), Part("least", 1), Part("middle", 5)]

    assert fitted(parts, 100) == "most, least, middle"
    assert fitted(parts, 15) == "most, middle"
    assert fitted(parts, 8) == "most"
    assert fitted(parts, 3) == "mos"


@given(st.lists(st.builds(Part, st.text(max_size=20), st.integers(0, 9)), min_size=1), st.integers(0, 200))
def test_nothing_is_wider_than_the_room(parts: list[Part], width: int) -> None:
    assert len(fitted(parts, width)) <= width


@given(st.floats(0, 1), st.text(max_size=100), st.integers(1, 200))
def test_a_bar_takes_only_room_that_is_left(share: float, text: str, width: int) -> None:
    line = bar(share, text, width)

    assert line.endswith(text)
    assert line == text or len(line) <= width


def test_the_bar_grows_with_the_share() -> None:
    assert [bar(share, "x", 80) for share in (0.0, 0.5, 0.99, 1.0)] == [
        f"[{' ' * 20}] x",
        f"[{'#' * 10}{' ' * 10}] x",
        f"[{'#' * 19} ] x",
        f"[{'#' * 20}] x",
    ]


def test_while_nobody_knows_how_much_there_is_there_is_no_bar() -> None:
    assert share_of(tally(50, 100)) is None
    assert share_of(tally(0, 0, complete=True)) is None
    assert share_of(LinkTally(done=3)) is None
    assert bar(None, "x", 80) == "x"
    assert share_of(LinkTally(total=4, done=3)) == 0.75
    assert share_of(tally(50, 100, complete=True)) == 0.5


def test_a_pause_of_the_user_is_told_before_one_of_the_portal() -> None:
    tally = RunTally(held=True, pause_left=8.0)
    assert "paused from the live page" in line_of(parts_of(tally, Pace()))
    assert "8s" not in line_of(parts_of(tally, Pace()))
