"""When a portal is called failing."""

from itertools import pairwise

import pytest

from worker.limits.breaker import ANOTHER_AFTER, FEW, FEW_SECONDS, QUESTIONS, WINDOW, Breaker, Silence
from worker.models import Kind, Request, Result


def breaker_after(*results: Result) -> Breaker:
    breaker = Breaker()
    for result in results:
        breaker.observe(Request(Kind.LINK, result, 1))
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


def test_only_the_last_requests_count() -> None:
    assert not breaker_after(*[Result.TRANSIENT] * WINDOW, *[Result.OK] * WINDOW).is_open


def test_being_throttled_is_not_a_failure_and_not_a_success() -> None:
    assert not breaker_after(*[Result.THROTTLED] * WINDOW * 2).is_open
    assert breaker_after(*[Result.TRANSIENT] * WINDOW, *[Result.THROTTLED] * WINDOW).is_open


def repeated(result: Result, reason: str = "timeout") -> Request:
    return Request(Kind.LINK, result, 1, 1, (reason,))


def test_pairs_that_fail_again_and_again_among_new_ones_say_nothing_of_the_portal() -> None:
    breaker = Breaker()
    for _ in range(WINDOW * 2):
        breaker.observe(Request(Kind.LINK, Result.OK, 1))
        for _ in range(WINDOW // 2 - 1):
            breaker.observe(repeated(Result.TRANSIENT))
    assert not breaker.is_open


@pytest.mark.parametrize(("first", "again"), [(WINDOW // 2, WINDOW // 2), (0, WINDOW)])
def test_when_only_repetitions_are_sent_and_fail_it_opens_but_is_in_doubt(first: int, again: int) -> None:
    breaker = breaker_after(*[Result.TRANSIENT] * first)
    for _ in range(again - 1):
        breaker.observe(repeated(Result.AMBIGUOUS))
        assert not breaker.is_open
    breaker.observe(repeated(Result.AMBIGUOUS))
    assert breaker.is_open
    assert breaker.doubtful
    breaker.close()
    assert not breaker.is_open


def test_of_new_requests_that_fail_there_is_no_doubt() -> None:
    breaker = breaker_after(*[Result.TRANSIENT] * WINDOW)
    for _ in range(WINDOW):
        breaker.observe(repeated(Result.TRANSIENT))
    assert breaker.is_open
    assert not breaker.doubtful


def test_repetitions_that_succeed_open_nothing() -> None:
    breaker = Breaker()
    for _ in range(WINDOW):
        breaker.observe(repeated(Result.OK))
    assert not breaker.is_open


def test_a_request_that_carries_anything_new_is_a_new_one() -> None:
    breaker = Breaker()
    for _ in range(WINDOW):
        breaker.observe(Request(Kind.BATCH, Result.AMBIGUOUS, 50, 49, ("timeout",) * 49))
    assert breaker.is_open
    assert not breaker.doubtful


def test_closed_it_begins_anew() -> None:
    breaker = breaker_after(*[Result.TRANSIENT] * WINDOW)

    breaker.close()
    breaker.observe(Request(Kind.LINK, Result.TRANSIENT, 1))

    assert not breaker.is_open


def silence_after(*told: tuple[float, Result]) -> Silence:
    silence = Silence()
    for at, result in told:
        silence.observe(Request(Kind.LINK, result, 1), at)
    return silence


FAILED = [(0.0, Result.TRANSIENT), (0.1, Result.AMBIGUOUS), (FEW_SECONDS, Result.TRANSIENT)]


def test_a_few_failures_with_nothing_that_worked_between_them_are_a_reason_to_ask() -> None:
    assert not silence_after(*FAILED[: FEW - 1]).is_open
    assert silence_after(*FAILED).is_open
    assert silence_after(*FAILED[:1], (0.1, Result.THROTTLED), *FAILED[1:]).is_open


@pytest.mark.parametrize("work", [Result.OK, Result.PERMANENT])
def test_what_works_between_them_makes_them_chance(work: Result) -> None:
    assert not silence_after(*FAILED[:2], (0.2, work), *FAILED[2:]).is_open


def test_those_that_come_at_once_are_one_mishap() -> None:
    assert not silence_after(*[(1.0, Result.AMBIGUOUS)] * WINDOW).is_open


def test_if_it_is_the_pairs_it_is_asked_a_few_times_and_then_once_a_minute() -> None:
    silence, questions = Silence(), []
    for at in range(300):
        silence.observe(Request(Kind.LINK, Result.OK if at % 5 == 0 else Result.TRANSIENT, 1), float(at))
        if silence.is_open:
            silence.it_is_the_pairs()
            questions.append(at)

    assert questions[:QUESTIONS] == [3, 8, 13]
    assert len(questions) == QUESTIONS + 300 // ANOTHER_AFTER - 1
    assert min(later - earlier for earlier, later in pairwise(questions[QUESTIONS:])) >= ANOTHER_AFTER - 5
