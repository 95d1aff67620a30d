"""What a stretch of time under one limit shows, and when it shows enough."""

import pytest

from worker.limits.window import FEWEST, LONGEST, MOST, Throughputs, Window


def filled(limit: int, answers: int, *, every: float = 0.1, latency: float = 0.2, items: int = 1) -> Window:
    """A window with one answer before it begins, and so many in it, whose requests fill the limit."""
    window = Window(limit, 0.0)
    window.answered(0.0, latency, items)
    window.in_flight(limit, 0.0, latency + every * answers)
    for number in range(1, answers + 1):
        at = latency + every * number
        window.answered(at - latency, at, items)
    return window


def test_what_was_sent_under_another_limit_does_not_count() -> None:
    window = Window(2, 10.0)
    window.in_flight(2, 9.0, 10.5)

    window.answered(9.9, 10.2, 1)
    assert (window.answers, window.seconds, window.used) == (0, 0.0, 0.0)

    window.answered(10.1, 10.5, 1)  # from here on
    window.in_flight(2, 10.4, 11.0)
    window.answered(10.2, 11.0, 1)
    assert (window.answers, window.seconds) == (1, 0.5)
    assert window.used == pytest.approx(1.0)


def test_the_next_one_under_the_same_limit_begins_where_it_ended() -> None:
    window = Window.next_to(Window(2, 0.0), 5.0)

    window.answered(4.0, 5.5, 1)

    assert (window.answers, window.seconds) == (1, 0.5)


def test_it_is_full_while_as_many_as_allowed_are_in_flight_and_that_goes_on_in_the_next_one() -> None:
    window = Window(3, 10.0)
    window.in_flight(3, 9.0, 10.5)  # half a second of it
    window.in_flight(2, 10.5, 11.0)

    window = Window.next_to(window, 11.0)
    window.in_flight(4, 11.0, 12.0)

    assert window.full == pytest.approx(1.5)


def test_a_request_takes_what_it_takes_whatever_it_carries() -> None:
    assert filled(2, 20, latency=0.2, items=100).takes == pytest.approx(0.2)
    assert Window(2, 0.0).takes == 0.0


def test_throughput_is_what_is_in_flight_over_the_time_that_each_takes() -> None:
    window = filled(2, 20, every=0.1, latency=0.2)
    assert window.throughput == pytest.approx(10.0)

    window = filled(2, 20, every=1.5, latency=3.0, items=100)
    assert window.throughput == pytest.approx(100 / 1.5)
    assert window.latency == pytest.approx(0.03)


def test_an_empty_window_shows_nothing() -> None:
    window = Window(2, 0.0)

    assert (window.throughput, window.latency, window.used) == (0.0, None, 0.0)
    assert window.spread == 0.5


def test_failures_take_time_and_bring_nothing() -> None:
    window = filled(1, 5, every=0.2)
    for number in range(5):
        window.answered(1.2 + 0.2 * number, 1.4 + 0.2 * number, 1, worked=False)
    window.in_flight(1, 1.2, 2.2)

    assert (window.answers, window.items) == (10, 5)
    assert window.throughput == pytest.approx(2.5)


def test_the_spread_is_of_the_latencies() -> None:
    assert filled(2, 20).spread == pytest.approx(0.0, abs=1e-9)

    window = filled(1, 0)
    for at, seconds in ((1.0, 0.1), (2.0, 0.3), (3.0, 0.1), (4.0, 0.3)):
        window.answered(at - seconds, at, 1)
    assert window.spread == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("limit", "spread", "answers"),
    [(1, 0.1, FEWEST), (4, 0.1, 8), (4, 0.5, 32), (8, 0.5, 128), (16, 0.9, MOST)],
)
def test_it_is_over_when_it_shows_what_one_more_or_less_does(limit: int, spread: float, answers: int) -> None:
    assert not filled(limit, answers - 1, every=1.0).is_over(spread, longest=1e9)
    assert filled(limit, answers, every=1.0).is_over(spread, longest=1e9)


def test_it_lasts_a_second_at_least_and_not_much_longer_than_allowed() -> None:
    assert not filled(2, 99, every=0.01).is_over(0.1)
    assert filled(2, 101, every=0.01).is_over(0.1)

    assert not filled(8, 16, every=(LONGEST - 0.1) / 16).is_over(0.5)
    assert filled(8, 16, every=(LONGEST + 0.1) / 16).is_over(0.5)
    assert not filled(8, 15, every=LONGEST).is_over(0.5)


def test_throughputs_of_a_limit_are_those_of_its_last_windows_each_by_its_answers() -> None:
    seen = Throughputs(windows=2)
    assert seen.of(3, 20.0) == 0.0

    seen.add(filled(3, 30, every=0.5, latency=1.5))
    assert seen.of(3, 20.0) == pytest.approx(2.0)

    seen.add(filled(3, 10, every=0.25, latency=0.75))
    assert seen.of(3, 20.0) == pytest.approx(2.5)

    seen.add(filled(3, 10, every=0.25, latency=0.75))
    assert seen.of(3, 20.0) == pytest.approx(4.0)

    assert seen.of(3, 1000.0) == 0.0

    seen.clear()
    assert seen.of(3, 20.0) == 0.0
