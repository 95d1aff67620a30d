"""When a portal is called failing."""

import pytest

from worker.breaker import NOT_STORED, WINDOW, Breaker
from worker.models import Attempt, Result


def breaker_after(*results: Result) -> Breaker:
    breaker = Breaker()
    for result in results:
        breaker.observe(Attempt(1, result))
    return breaker


def test_it_is_closed_until_the_window_is_full() -> None:
    assert not breaker_after(*[Result.TRANSIENT] * (WINDOW - 1)).is_open
    assert breaker_after(*[Result.TRANSIENT] * WINDOW).is_open


@pytest.mark.parametrize("failure", [Result.TRANSIENT, Result.AMBIGUOUS])
@pytest.mark.parametrize("work", [Result.OK, Result.PERMANENT])
def test_half_of_the_window_opens_it_and_one_less_does_not(failure: Result, work: Result) -> None:
    half = WINDOW // 2

    assert breaker_after(*[failure] * half, *[work] * half).is_open
    assert not breaker_after(*[failure] * (half - 1), *[work] * (half + 1)).is_open


def test_only_the_last_attempts_count() -> None:
    assert not breaker_after(*[Result.TRANSIENT] * WINDOW, *[Result.OK] * WINDOW).is_open


def test_being_throttled_is_not_a_failure_and_not_a_success() -> None:
    assert not breaker_after(*[Result.THROTTLED] * WINDOW * 2).is_open
    assert breaker_after(*[Result.TRANSIENT] * WINDOW, *[Result.THROTTLED] * WINDOW).is_open


def test_a_look_that_finds_no_link_is_a_portal_at_work() -> None:
    breaker = breaker_after(*[Result.TRANSIENT] * (WINDOW // 2 - 1))
    for _ in range(WINDOW // 2 + 1):
        breaker.observe(Attempt(4, Result.TRANSIENT, NOT_STORED, 200))

    assert not breaker.is_open


def test_closed_it_begins_anew() -> None:
    breaker = breaker_after(*[Result.TRANSIENT] * WINDOW)

    breaker.close()
    breaker.observe(Attempt(1, Result.TRANSIENT))

    assert not breaker.is_open
