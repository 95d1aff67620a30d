"""Which rate holds when, and when another one does."""

from datetime import UTC, datetime, timedelta
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.quantities import Rate
from worker.timetable import Timetable, parse_timetable

BERLIN = ZoneInfo("Europe/Berlin")
SLOW, FAST = Rate(5, 1.0), Rate(50, 1.0)
OFFICE = "08:00-19:00=5/s,50/s"


def at(text: str, when: str) -> tuple[Rate, float]:
    """What holds at a time of Berlin."""
    return parse_timetable(text).at(datetime.fromisoformat(when).replace(tzinfo=BERLIN))


HOUR = 3_600.0


@pytest.mark.parametrize(
    ("text", "when", "rate", "hours"),
    [
        (OFFICE, "2026-03-02T07:59:30", FAST, 1 / 120),
        (OFFICE, "2026-03-02T08:00:00", SLOW, 11.0),
        (OFFICE, "2026-03-02T18:59:59", SLOW, 1 / 3600),
        (OFFICE, "2026-03-02T19:00:00", FAST, 13.0),
        ("22:00-06:00=50/s,5/s", "2026-03-02T23:30:00", FAST, 6.5),
        ("22:00-06:00=50/s,5/s", "2026-03-02T05:59:00", FAST, 1 / 60),
        ("22:00-06:00=50/s,5/s", "2026-03-02T06:00:00", SLOW, 16.0),
        ("22:00-24:00=50/s,5/s", "2026-03-02T23:00:00", FAST, 1.0),
        # 6 March 2026 is a Friday.
        ("mon-fri 08:00-19:00=5/s,50/s", "2026-03-06T12:00:00", SLOW, 7.0),
        ("mon-fri 08:00-19:00=5/s,50/s", "2026-03-06T19:00:00", FAST, 61.0),
        ("fri 22:00-06:00=50/s,5/s", "2026-03-07T05:00:00", FAST, 1.0),
        ("fri 22:00-06:00=50/s,5/s", "2026-03-06T05:00:00", SLOW, 17.0),
        ("sat-mon=50/s,5/s", "2026-03-09T23:00:00", FAST, 1.0),
        ("sat-mon=50/s,5/s", "2026-03-10T00:00:00", SLOW, 96.0),
        # The first that holds counts.
        ("12:00-13:00=50/s,08:00-19:00=5/s,50/s", "2026-03-02T12:30:00", FAST, 0.5),
        ("08:00-19:00=5/s,12:00-13:00=50/s,50/s", "2026-03-02T12:30:00", SLOW, 6.5),
        # An edge at which nothing changes is none.
        ("08:00-12:00=5/s,12:00-19:00=5/s,50/s", "2026-03-02T11:00:00", SLOW, 8.0),
        ("50/s", "2026-03-02T12:30:00", FAST, inf),
        ("08:00-19:00=50/s,50/s", "2026-03-02T12:30:00", FAST, inf),
        # Summer time begins on 29 March 2026 at 02:00, and ends on 25 October at 03:00.
        ("22:00-06:00=50/s,5/s", "2026-03-28T23:00:00", FAST, 6.0),
        ("22:00-06:00=50/s,5/s", "2026-10-24T23:00:00", FAST, 8.0),
    ],
)
def test_the_rate_of_a_time_and_the_hours_until_it_changes(
    text: str, when: str, rate: Rate, hours: float
) -> None:
    holds, seconds = at(text, when)
    assert holds == rate
    assert seconds == pytest.approx(hours * HOUR)


def test_an_hour_that_comes_twice_is_counted_twice() -> None:
    begin = datetime(2026, 10, 25, 0, 15, tzinfo=UTC)  # 02:15 in Berlin, for the first time
    table = parse_timetable("02:30-04:00=50/s,5/s")
    seen = [table.at((begin + timedelta(hours=n / 2)).astimezone(BERLIN)) for n in range(4)]
    assert [rate for rate, _ in seen] == [SLOW, FAST, SLOW, FAST]
    assert [seconds for _, seconds in seen] == [900.0, pytest.approx(900.0 + HOUR, abs=HOUR), 900.0, 4500.0]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("500/10s", "500/10s"),
        (" 8:00 - 19:00 = 5/s , 50 / s ", "08:00-19:00=5/s,50/s"),
        ("Mon-Fri 08:00-19:00=5/s,sat=20/s,50/s", "mon-fri 08:00-19:00=5/s,sat=20/s,50/s"),
        ("sat-mon 22:00-06:00=5/s,50/s", "sat-mon 22:00-06:00=5/s,50/s"),
        ("00:00-24:00=5/s,50/s", "00:00-24:00=5/s,50/s"),
        ("mon-sun 01:00-02:00=5/s,50/s", "01:00-02:00=5/s,50/s"),
    ],
)
def test_what_is_read_can_be_written_and_read_again(text: str, normal: str) -> None:
    table = parse_timetable(text)
    assert str(table) == normal
    assert parse_timetable(normal) == table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast", "'fast' is not a rate like 50/s"),
        ("", "'' is not a rate like"),
        ("08:00-19:00=5/s", "the last rate has no time"),
        ("5/s,50/s", "'5/s' is not a time and a rate like"),
        ("=5/s,50/s", "'=5/s' is not a time and a rate like"),
        ("fre 08:00-19:00=5/s,50/s", "is not a time and a rate like"),
        ("25:00-26:00=5/s,50/s", "there is no 25:00 on a clock"),
        ("08:60-19:00=5/s,50/s", "there is no 08:60 on a clock"),
        ("24:01-08:00=5/s,50/s", "there is no 24:01 on a clock"),
        ("08:00-08:00=5/s,50/s", "the whole day is 00:00-24:00"),
        ("08:00-19:00=0/s,50/s", "'0/s' is not a rate"),
        ("08:00-19:00=5/s," * 40 + "50/s", "too long for a timetable"),
    ],
)
def test_what_is_no_timetable_is_refused_in_words_that_help(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_timetable(text)
    assert "\n" not in str(caught.value)


def test_the_fastest_rate_is_that_of_any_time() -> None:
    assert parse_timetable("08:00-19:00=100/s,50/s").fastest == Rate(100, 1.0)
    assert parse_timetable("08:00-19:00=100/min,50/s").fastest == FAST


TIMES = st.tuples(st.integers(0, 23), st.integers(0, 59))


@given(
    TIMES,
    TIMES,
    st.sampled_from(["", "mon-fri ", "sun ", "sat-tue "]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - gets its zone below
)
def test_until_it_is_said_to_change_the_rate_stays_and_then_it_is_another(
    begin: tuple[int, int], end: tuple[int, int], days: str, when: datetime
) -> None:
    if begin == end:
        return
    text = f"{days}{begin[0]:02}:{begin[1]:02}-{end[0]:02}:{end[1]:02}=5/s,50/s"
    table = parse_timetable(text)
    moment = when.replace(tzinfo=UTC)
    rate, seconds = table.at(moment)
    assert 0 < seconds <= 8 * 24 * HOUR
    for share in (0.01, 0.5, 0.99):
        assert table.at(moment + timedelta(seconds=share * seconds))[0] == rate
    assert table.at(moment + timedelta(seconds=seconds + 0.001))[0] != rate


def test_a_plain_rate_is_a_timetable_without_times() -> None:
    assert parse_timetable("500/10s") == Timetable(Rate(500, 10.0))
