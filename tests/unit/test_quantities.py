"""Durations, rates and counts: what is read, what is refused by name, and that what is written is read."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.quantities import (
    Rate,
    counted,
    format_clock,
    format_duration,
    format_moment,
    parse_duration,
    parse_error_limit,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("30", 30.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("10sec", 10.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("0.5h", 1800.0),
        (" 30 s ", 30.0),
        ("2H", 7200.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "s",
            "-5s",
            "+5s",
            "5x",
            "5 s s",
            "1h30m",
            ".5s",
            "5.s",
            "1e3s",
            "inf",
            "nan",
            "5s\0",
            "1_0s",
        ),
        *("\N{ARABIC-INDIC DIGIT FIVE}s", "\N{SUPERSCRIPT TWO}s"),
    ],
)
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))} is not a duration like 30s, 5m or 2h$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/s", Rate(50, 1.0)),
        ("1/s", Rate(1, 1.0)),
        ("50/1s", Rate(50, 1.0)),
        ("500/10s", Rate(500, 10.0)),
        ("500/10sec", Rate(500, 10.0)),
        ("1500/min", Rate(1500, 60.0)),
        ("1500/m", Rate(1500, 60.0)),
        ("9/0.5s", Rate(9, 0.5)),
        ("90/h", Rate(90, 3600.0)),
        ("7/2d", Rate(7, 172800.0)),
        (" 50 / 2 S ", Rate(50, 2.0)),
        ("007/s", Rate(7, 1.0)),
    ],
)
def test_a_rate_is_read_as_the_portal_states_it(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["1/1ms", "500/9ms", "1/0.001s", "1/ms"])
def test_a_window_that_no_timer_can_keep_to_is_refused(text: str) -> None:
    """Each turn would come too late to be used, and another be waited for."""
    with pytest.raises(ValueError, match="no timer keeps to a window of less than 10ms") as caught:
        parse_rate(text)
    assert str(caught.value).startswith(repr(text))
    assert parse_rate("5/10ms") == Rate(5, 0.01)


def test_a_rate_per_milliseconds_is_read() -> None:
    rate = parse_rate("7/100ms")
    assert rate.limit == 7
    assert rate.period == pytest.approx(0.1)


@pytest.mark.parametrize(
    "text",
    [
        *("", "50", "50/", "/s", "0/s", "00/s", "50/0s", "50/0.0s", "-1/s", "+1/s", "1.5/s", "50/x", "50//s"),
        *("50/s/s", "50 per s", "50/10", "50/-1s", "fast", "1_0/s", "\N{ARABIC-INDIC DIGIT FIVE}/s"),
    ],
)
def test_what_is_no_rate_is_refused_by_name(text: str) -> None:
    message = f"^{re.escape(repr(text))} is not a rate like 50/s, 500/10s or 1500/min$"
    with pytest.raises(ValueError, match=message):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(50, 1.0), "50/s"),
        (Rate(500, 10.0), "500/10s"),
        (Rate(1500, 60.0), "1500/m"),
        (Rate(90, 3600.0), "90/h"),
        (Rate(5, 86400.0), "5/d"),
        (Rate(20, 120.0), "20/2m"),
        (Rate(20, 90.0), "20/90s"),
        (Rate(7, 0.1), "7/0.1s"),
        (Rate(3, 1.5), "3/1.5s"),
        (Rate(3, 11.0), "3/11s"),
        (Rate(3, 660.0), "3/11m"),
    ],
)
def test_a_rate_is_written_in_its_shortest_form(rate: Rate, text: str) -> None:
    assert str(rate) == text
    assert parse_rate(text) == rate


def test_a_rate_knows_its_mean_per_second() -> None:
    assert [Rate(500, 10.0).per_second, Rate(1500, 60.0).per_second, Rate(7, 0.5).per_second] == [50, 25, 14]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "0.25s"),
        (1.0, "1s"),
        (59.0, "59s"),
        (60.0, "1m"),
        (60.5, "60.5s"),
        (90.0, "90s"),
        (120.0, "2m"),
        (3599.0, "3599s"),
        (3600.0, "1h"),
        (5400.0, "90m"),
        (7200.0, "2h"),
        (86400.0, "1d"),
        (90000.0, "25h"),
        (172800.0, "2d"),
    ],
)
def test_a_duration_is_written_in_its_shortest_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 400 * 86400).filter(lambda seconds: seconds < 1_000_000 or seconds % 60 == 0))
def test_whole_seconds_come_back_as_they_were_written(seconds: int) -> None:
    assert parse_duration(format_duration(float(seconds))) == seconds


@given(st.integers(1, 99_999))
def test_milliseconds_below_a_hundred_seconds_come_back_as_they_were_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("seconds", [0.00001, 100.0625, 3599.999, 1_000_001.0, 31.415926])
def test_any_duration_comes_back_as_it_was_written(seconds: float) -> None:
    """A run keeps its settings as text, and resume reads them back."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(
    st.integers(1, 10**9),
    st.integers(1, 59) | st.sampled_from([60, 90, 600, 3600, 5400, 86400]) | st.sampled_from([0.1, 0.5, 2.5]),
)
def test_a_rate_comes_back_as_it_was_written(limit: int, period: float) -> None:
    rate = Rate(limit, float(period))
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "failed", "settled", "passed"),
    [
        ("0", 0, 10, False),
        ("0", 1, 1, True),
        ("10", 10, 10, False),
        ("10", 11, 5000, True),
        ("5%", 99, 99, False),
        ("5%", 5, 100, False),
        ("5%", 6, 100, True),
        ("2.5 %", 25, 1000, False),
        ("2.5%", 26, 1000, True),
    ],
)
def test_a_limit_of_errors_is_a_number_or_a_share_of_a_hundred_or_more(
    text: str, failed: int, settled: int, *, passed: bool
) -> None:
    assert parse_error_limit(text).passed(failed, settled) is passed


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "101%", "5%%", "9" * 31, "٣"])
def test_what_is_no_limit_of_errors_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number like 100 or a share like 5%"):
        parse_error_limit(text)


def test_a_moment_is_told_as_the_clock_on_the_wall_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert format_moment(1_767_225_600.9) == "2026-01-01 09:00:00 JST"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["0", "100", "5%", "2.5%"])
def test_a_limit_of_errors_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_error_limit(text)) == text


def test_a_rate_can_be_had_at_another_pace() -> None:
    rate = Rate(500, 10.0)

    assert rate.at(25.0) == Rate(500, 20.0)
    assert rate.at(50.0) is rate


@pytest.mark.parametrize(
    ("count", "one", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2000, "row", "2,000 rows"),
        (1, "retry", "1 retry"),
        (2, "retry", "2 retries"),
    ],
)
def test_one_of_a_kind_is_told_as_one(count: int, one: str, said: str) -> None:
    assert counted(count, one) == said


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.9, "0:07"), (59, "0:59"), (60, "1:00"), (3723, "1:02:03")]
)
def test_a_clock_shows_whole_seconds_and_hours_only_if_there_are_any(seconds: float, shown: str) -> None:
    assert format_clock(seconds) == shown
