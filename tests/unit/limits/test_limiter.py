"""Turns under a virtual clock: never too many in a window, hardly fewer than allowed, and pauses for all."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from itertools import cycle, pairwise
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.limits import Limiter
from worker.limits.limiter import USER
from worker.limits.throttler import PacedThrottler
from worker.models import Kind, Request, Result
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]

RATES = [Rate(1, 1.0), Rate(50, 1.0), Rate(500, 10.0), Rate(1500, 60.0), Rate(7, 0.1)]


def paced(turn: int) -> float:
    """When each turn at 10/s is due after the first, which may have been late by the slack."""
    return turn * 0.1012 - 0.005 if turn else 0.0


def throttled(retry_after: float | None = None) -> Request:
    return Request(Kind.LINK, Result.THROTTLED, 1, reason="throttled", retry_after=retry_after)


def most_in_any_window(times: list[float], period: float) -> int:
    """By trying a window at each turn, ends included: a fullest one can be moved to begin at a turn."""
    return max(bisect_right(times, begin + period) - i for i, begin in enumerate(times))


async def turns(throttler: PacedThrottler, waiters: int, each: int) -> list[float]:
    """When each turn was given to one of many who wait at once."""
    given: list[float] = []

    async def wait() -> None:
        for _ in range(each):
            await throttler.acquire()
            given.append(now())

    async with asyncio.TaskGroup() as group:
        for _ in range(waiters):
            group.create_task(wait())
    return given


class Dealt(Random):
    """Deals always the same share of the range asked for."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__(0)
        self.share = share
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return a + (b - a) * self.share


@pytest.fixture
def late_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sleep lasts up to 5 ms longer than asked for."""
    lateness = cycle([0.005, 0.0, 0.003, 0.0004, 0.005, 0.005, 0.0, 0.0, 0.0017, 0.001])
    sleep = asyncio.sleep

    async def late(seconds: float) -> None:
        await sleep(seconds + next(lateness))

    monkeypatch.setattr(asyncio, "sleep", late)


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("waiters", [1, 3, 40])
def test_no_window_holds_more_turns_than_the_limit(virtual_time: Run, rate: Rate, waiters: int) -> None:
    each = 3 * rate.limit // waiters + 3
    given = virtual_time(turns(PacedThrottler(rate), waiters, each))
    assert len(given) == waiters * each
    assert most_in_any_window(given, rate.period) <= rate.limit


@pytest.mark.usefixtures("late_timers")
@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("waiters", [1, 40])
def test_no_window_holds_more_when_timers_wake_late(virtual_time: Run, rate: Rate, waiters: int) -> None:
    """Lateness is made up for, and that must not close up a window."""
    each = 3 * rate.limit // waiters + 3
    given = virtual_time(turns(PacedThrottler(rate), waiters, each))
    assert most_in_any_window(given, rate.period) <= rate.limit


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("gap", [0.3, 1.0, 7.0])
def test_no_window_holds_more_after_a_time_without_wishes(virtual_time: Run, rate: Rate, gap: float) -> None:
    """Unused turns are gone: they must not be spent in a burst."""

    async def work() -> list[float]:
        throttler = PacedThrottler(rate)
        given = []
        for _ in range(4):
            given += await turns(throttler, 5, rate.limit // 5 + 2)
            await asyncio.sleep(gap * rate.period)
        return given

    given = virtual_time(work())
    assert most_in_any_window(given, rate.period) <= rate.limit
    slack = min(0.005, 0.006 * rate.period)
    step = rate.period / rate.limit * 1.012
    assert all(later - earlier >= step - slack - 1e-9 for earlier, later in pairwise(given))


@pytest.mark.parametrize("wish", [0.0, 0.4, 0.9, 1.1, 1.7])
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_no_window_holds_more_when_wishes_come_at_odd_times(
    virtual_time: Run, rate: Rate, wish: float
) -> None:
    async def work() -> list[float]:
        throttler = PacedThrottler(rate)
        given = []
        for i in range(3 * rate.limit + 3):
            await throttler.acquire()
            given.append(now())
            await asyncio.sleep(wish * (1 + i % 3) / 2 * rate.period / rate.limit)
        return given

    assert most_in_any_window(virtual_time(work()), rate.period) <= rate.limit


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("waiters", [1, 40])
def test_wished_for_all_the_time_it_reaches_98_percent_of_the_rate(
    virtual_time: Run, rate: Rate, waiters: int
) -> None:
    given = virtual_time(turns(PacedThrottler(rate), waiters, 4 * rate.limit // waiters + 5))
    reached = (len(given) - 1) / (given[-1] - given[0])
    assert 0.98 * rate.per_second <= reached <= rate.per_second


@pytest.mark.usefixtures("late_timers")
@pytest.mark.parametrize("rate", RATES[:4], ids=str)
def test_timers_that_wake_late_cost_no_rate(virtual_time: Run, rate: Rate) -> None:
    """A step is longer than the lateness, or there would be nothing to make it up from (7/100ms)."""
    given = virtual_time(turns(PacedThrottler(rate), 10, 4 * rate.limit // 10 + 5))
    assert (len(given) - 1) / (given[-1] - given[0]) >= 0.98 * rate.per_second


def test_turns_are_evenly_paced(virtual_time: Run) -> None:
    """The package as shipped lets a whole window through at once."""
    given = virtual_time(turns(PacedThrottler(Rate(10, 1.0)), 10, 3))
    assert [time - given[0] for time in given] == [pytest.approx(paced(i)) for i in range(30)]


def test_the_first_turn_is_at_once(virtual_time: Run) -> None:
    async def work() -> float:
        begin = now()
        await PacedThrottler(Rate(1, 60.0)).acquire()
        return now() - begin

    assert virtual_time(work()) == 0.0


def test_turns_go_to_who_came_first(virtual_time: Run) -> None:
    async def work() -> list[int]:
        throttler = PacedThrottler(Rate(10, 1.0))
        order: list[int] = []

        async def wait(number: int) -> None:
            await asyncio.sleep(number * 7 % 40 / 10_000)
            await throttler.acquire()
            order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(wait(number))
        return order

    assert virtual_time(work()) == sorted(range(40), key=lambda number: number * 7 % 40)


@pytest.mark.parametrize(
    "cancelled",
    [{1}, {3}, {1, 2, 3}, {9}, set(range(1, 9))],
    ids=["asleep", "queued", "many", "last", "most"],
)
def test_a_cancelled_waiter_takes_no_turn_and_blocks_nobody(virtual_time: Run, cancelled: set[int]) -> None:
    async def work() -> list[tuple[int, float]]:
        throttler = PacedThrottler(Rate(10, 1.0))
        begin = now()
        given: list[tuple[int, float]] = []

        async def wait(number: int) -> None:
            await throttler.acquire()
            given.append((number, now() - begin))

        waiters = [asyncio.create_task(wait(number)) for number in range(10)]
        await asyncio.sleep(0.05)  # 0 has its turn, 1 sleeps until its own, the others queue
        for number in cancelled:
            waiters[number].cancel()
        await asyncio.wait(waiters)
        return given

    given = virtual_time(work())
    assert [number for number, _ in given] == [n for n in range(10) if n not in cancelled]
    assert [time for _, time in given] == [pytest.approx(paced(i)) for i in range(10 - len(cancelled))]


def test_a_pause_holds_everyone_back_also_who_sleeps_until_a_turn(virtual_time: Run) -> None:
    async def work() -> list[float]:
        throttler = PacedThrottler(Rate(10, 1.0))
        begin = now()
        waiting = asyncio.create_task(turns(throttler, 6, 1))
        await asyncio.sleep(0.25)  # three turns are given; one waiter sleeps until 0.2986
        throttler.pause(2.0)
        return [given - begin for given in await waiting]

    given = virtual_time(work())
    paused = [2.25 + paced(turn) for turn in range(3)]
    assert given == [pytest.approx(time) for time in (paced(0), paced(1), paced(2), *paused)]


def test_a_pause_that_comes_in_a_pause_is_seen(virtual_time: Run) -> None:
    async def work() -> float:
        throttler = PacedThrottler(Rate(10, 1.0))
        begin = now()
        throttler.pause(1.0)
        waiting = asyncio.create_task(turns(throttler, 1, 1))
        await asyncio.sleep(0.9)
        throttler.pause(1.0)
        (given,) = await waiting
        return given - begin

    assert virtual_time(work()) == pytest.approx(1.9)


@pytest.mark.parametrize("second", [0.0, 1.0, 3.999])
def test_a_shorter_pause_never_cuts_a_longer_one(virtual_time: Run, second: float) -> None:
    async def work() -> tuple[float, float]:
        throttler = PacedThrottler(Rate(10, 1.0))
        begin = now()
        throttler.pause(5.0)
        await asyncio.sleep(1.0)
        throttler.pause(second)
        await throttler.acquire()
        return now() - begin, throttler.paused_seconds

    assert virtual_time(work()) == (pytest.approx(5.0), pytest.approx(5.0))


def test_overlapping_pauses_count_once(virtual_time: Run) -> None:
    async def work() -> list[float]:
        throttler = PacedThrottler(Rate(10, 1.0))
        counted = [throttler.paused_seconds]
        for wait, seconds in [(0.0, 2.0), (1.0, 2.0), (0.5, 0.5), (0.0, 0.0), (7.0, 3.0)]:
            await asyncio.sleep(wait)
            throttler.pause(seconds)
            counted.append(throttler.paused_seconds)
        return counted

    # [0, 2] and [1, 3] make 3; [1.5, 2] and [1.5, 1.5] lie within; [8.5, 11.5] is apart.
    assert virtual_time(work()) == [pytest.approx(t) for t in (0, 2, 3, 3, 3, 6)]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_after_a_pause_turns_are_paced_and_come_in_no_burst(virtual_time: Run, rate: Rate) -> None:
    async def work() -> tuple[list[float], float]:
        throttler = PacedThrottler(rate)
        waiting = asyncio.create_task(turns(throttler, 40, rate.limit // 20 + 2))
        await asyncio.sleep(rate.period * 0.6)
        resumes = now() + 3 * rate.period
        throttler.pause(3 * rate.period)
        return await waiting, resumes

    given, resumes = virtual_time(work())
    assert most_in_any_window(given, rate.period) <= rate.limit
    after = [time for time in given if time >= resumes]
    assert after[0] == pytest.approx(resumes)
    step = rate.period / rate.limit * 1.012
    assert after[1] - after[0] >= step - 0.006 * rate.period - 1e-9
    assert [b - a for a, b in pairwise(after[2:])] == [pytest.approx(step)] * (len(after) - 3)


@pytest.mark.parametrize("retry_after", [0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_retry_after_is_honoured_and_a_little_later(
    virtual_time: Run, retry_after: float, share: float
) -> None:
    """The portal's clock and ours need not agree, and others were told the same."""
    rng = Dealt(share)
    jitter = max(0.1, 0.1 * retry_after)

    async def work() -> float:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=4.0, rng=rng)
        begin = now()
        limiter.observe(throttled(retry_after))
        await limiter.turn()
        return now() - begin

    assert virtual_time(work()) == pytest.approx(retry_after + jitter * share)
    assert rng.asked == [(0.0, jitter)]


def test_no_pause_is_longer_than_the_longest(virtual_time: Run) -> None:
    async def work() -> tuple[float, float]:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=4.0, rng=Dealt())
        begin = now()
        limiter.observe(throttled(3600.0))
        await limiter.turn()
        return now() - begin, limiter.paused_seconds

    assert virtual_time(work()) == (pytest.approx(4.0), pytest.approx(4.0))


@pytest.mark.parametrize("kind", [Kind.PROBE, Kind.LOGIN])
def test_a_throttled_question_holds_others_back_only_if_it_is_told_for_how_long(
    virtual_time: Run, kind: Kind
) -> None:
    async def work() -> list[float]:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
        held = []
        for named in (None, 7.0):
            limiter.observe(Request(kind, Result.THROTTLED, reason="throttled", retry_after=named))
            held.append(limiter.pause_left)
        return held

    assert virtual_time(work()) == [0.0, 7.0]


async def pauses(limiter: Limiter, requests: list[Request]) -> list[float]:
    """How long the next turn is held back after each answer, one request at a time."""
    held = []
    for request in requests:
        await asyncio.sleep(1.0)
        begin = now()
        limiter.observe(request)
        await limiter.turn()
        held.append(now() - begin)
    return held


def test_without_retry_after_pauses_grow_to_a_bound(virtual_time: Run) -> None:
    limiter = Limiter(Rate(10, 1.0), 1, max_pause=300.0, rng=Dealt())
    held = virtual_time(pauses(limiter, [throttled()] * 9))
    assert held == [pytest.approx(t) for t in (1, 2, 4, 8, 16, 32, 32, 32, 32)]


def test_without_retry_after_no_pause_is_longer_than_the_longest(virtual_time: Run) -> None:
    limiter = Limiter(Rate(10, 1.0), 1, max_pause=5.0, rng=Dealt())
    assert virtual_time(pauses(limiter, [throttled()] * 5)) == [pytest.approx(t) for t in (1, 2, 4, 5, 5)]


@pytest.mark.parametrize("result", [r for r in Result if r is not Result.THROTTLED])
def test_a_request_that_was_not_throttled_lets_pauses_start_small_again(
    virtual_time: Run, result: Result
) -> None:
    limiter = Limiter(Rate(10, 1.0), 1, max_pause=300.0, rng=Dealt())
    answers = [throttled(), throttled(), Request(Kind.LINK, result), throttled(), throttled()]
    assert virtual_time(pauses(limiter, answers)) == [pytest.approx(t) for t in (1, 2, 0, 1, 2)]


def test_a_throttled_answer_that_names_a_time_counts_towards_the_growth(virtual_time: Run) -> None:
    limiter = Limiter(Rate(10, 1.0), 1, max_pause=300.0, rng=Dealt())
    answers = [throttled(7.0), throttled(), throttled()]
    assert virtual_time(pauses(limiter, answers)) == [pytest.approx(t) for t in (7, 2, 4)]


@pytest.mark.parametrize(
    ("named", "pauses_in_a_row"),
    [
        (0.0, (0, 1, 2, 4, 8, 16, 32, 32, 32)),
        (3.0, (3, 3, 3, 4, 8, 16, 32, 32, 32)),
        (100.0, (100,) * 9),
    ],
)
def test_throttled_again_and_again_everyone_is_held_back_longer_whatever_is_named(
    virtual_time: Run, named: float, pauses_in_a_row: tuple[float, ...]
) -> None:
    """0, or a date gone by, must not be hammered."""
    limiter = Limiter(Rate(10, 1.0), 1, max_pause=300.0, rng=Dealt())
    held = virtual_time(pauses(limiter, [throttled(named)] * 9))
    assert held == [pytest.approx(pause) for pause in pauses_in_a_row]


def test_answers_to_requests_sent_before_a_pause_began_do_not_make_it_grow(virtual_time: Run) -> None:
    """They were all sent in the same ignorance; only one sent after the pause tells anything new."""

    async def work() -> float:
        limiter = Limiter(Rate(10, 1.0), 8, max_pause=300.0, rng=Dealt())
        for _ in range(8):
            limiter.observe(throttled())
        return limiter.pause_left

    assert virtual_time(work()) == pytest.approx(1.0)


def test_of_a_pause_that_lasts_only_what_is_over_counts(virtual_time: Run) -> None:
    """A run that is given up in a pause of five minutes was not held back for as long."""

    async def work() -> tuple[float, float]:
        limiter = Limiter(Rate(10, 1.0), 8, max_pause=300.0, rng=Dealt())
        limiter.observe(throttled(300.0))
        await asyncio.sleep(8.0)
        return limiter.paused_seconds, limiter.pause_left

    assert virtual_time(work()) == (pytest.approx(8.0), pytest.approx(292.0))


@pytest.mark.parametrize(
    ("result", "left", "held"),
    [
        (Result.OK, 3.0, 3.0),
        (Result.PERMANENT, 3.0, 3.0),
        (Result.OK, 0.0, 0.0),
        (Result.OK, 61.0, 0.0),
        (Result.AMBIGUOUS, 3.0, 0.0),
        (Result.TRANSIENT, 3.0, 0.0),
    ],
)
def test_the_answer_that_used_up_a_quota_holds_everyone_back_until_there_is_a_new_one(
    virtual_time: Run, result: Result, left: float, held: float
) -> None:
    """One that is farther away than the longest pause is waited for when the portal refuses."""
    limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
    answers = [Request(Kind.LINK, result, 1, retry_after=left)]
    assert virtual_time(pauses(limiter, answers)) == [pytest.approx(held)]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_permits_bound_how_many_are_in_flight(virtual_time: Run, concurrency: int) -> None:
    async def work() -> tuple[int, int]:
        limiter = Limiter(Rate(1000, 1.0), concurrency, max_pause=1.0, rng=Dealt())
        inside = most = 0

        async def one() -> None:
            nonlocal inside, most
            async with limiter.slot():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(1.0)
                inside -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(one())
        return most, inside

    assert virtual_time(work()) == (concurrency, 0)


def test_what_is_in_flight_is_on_its_way_and_what_waits_for_a_turn_is_not(virtual_time: Run) -> None:
    async def scenario() -> list[int]:
        limiter = Limiter(Rate(1, 10.0), 4, max_pause=300.0, rng=Dealt())
        counts = [limiter.in_flight]

        async def send() -> None:
            async with limiter.slot():
                await asyncio.sleep(5.0)

        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(send())
            await asyncio.sleep(1.0)
            counts.append(limiter.in_flight)
        return [*counts, limiter.in_flight]

    assert virtual_time(scenario()) == [0, 1, 0]


def test_a_permit_comes_back_after_an_error_or_a_cancellation(virtual_time: Run) -> None:
    async def work() -> bool:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=1.0, rng=Dealt())

        async def hold() -> None:
            async with limiter.slot():
                await asyncio.sleep(60.0)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hold(), 1.0)
        holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.sleep(0)
        holder.cancel()
        with pytest.raises(ZeroDivisionError):
            async with limiter.slot():
                raise ZeroDivisionError
        async with limiter.slot():
            return True

    assert virtual_time(work())


def test_a_turn_of_a_limiter_is_paced_at_its_rate(virtual_time: Run) -> None:
    async def work() -> list[float]:
        limiter = Limiter(Rate(2, 1.0), 4, max_pause=1.0, rng=Dealt())
        begin = now()
        given = []
        for _ in range(4):
            await limiter.turn()
            given.append(now() - begin)
        return given

    assert virtual_time(work()) == [pytest.approx(time) for time in (0.0, 0.501, 1.007, 1.513)]


@pytest.mark.parametrize(("before", "after"), [(4, 1), (4, 2), (1, 4), (3, 3)])
@pytest.mark.parametrize("busy", [0, 4])
def test_a_changed_concurrency_bounds_what_is_in_flight_from_then_on(
    virtual_time: Run, before: int, after: int, busy: int
) -> None:
    async def work() -> int:
        limiter = Limiter(Rate(1000, 1.0), before, max_pause=1.0, rng=Dealt())
        inside = most = 0

        async def one() -> None:
            nonlocal inside, most
            async with limiter.slot():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(1.0)
                inside -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(busy):
                group.create_task(one())
            await asyncio.sleep(0.5)
            limiter.resize(after)
            if busy:
                await asyncio.sleep(4.0)
            most = 0
            for _ in range(12):
                group.create_task(one())
        return most

    assert virtual_time(work()) == after


def test_a_concurrency_that_was_lowered_and_raised_again_is_the_last_one(virtual_time: Run) -> None:
    async def work() -> int:
        limiter = Limiter(Rate(1000, 1.0), 2, max_pause=1.0, rng=Dealt())
        got = 0

        async def hold() -> None:
            nonlocal got
            async with limiter.slot():
                got += 1
                await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as group:
            group.create_task(hold())
            group.create_task(hold())
            await asyncio.sleep(0.5)
            limiter.resize(1)
            limiter.resize(3)
            for _ in range(4):
                group.create_task(hold())
            await asyncio.sleep(0.1)
            return got

    assert virtual_time(work()) == 3


def test_turns_come_at_a_changed_rate(virtual_time: Run) -> None:
    async def work() -> list[float]:
        limiter = Limiter(Rate(10, 1.0), 4, max_pause=1.0, rng=Dealt())
        begin = now()
        given = []
        for turn in range(4):
            if turn == 2:
                limiter.change(Rate(2, 1.0), None)
            await limiter.turn()
            given.append(now() - begin)
        return given

    first, second, third, fourth = virtual_time(work())
    assert second - first == pytest.approx(0.1, abs=0.01)
    assert third - second == pytest.approx(0.5, abs=0.01)
    assert fourth - third == pytest.approx(0.5, abs=0.01)


def test_a_question_passes_a_hold_a_pause_and_full_permits_but_not_the_rate(
    virtual_time: Run,
) -> None:
    async def work() -> tuple[list[float], list[float]]:
        limiter = Limiter(Rate(2, 1.0), 1, max_pause=60.0, rng=Dealt())
        begin = now()
        ordinary: list[float] = []
        questions: list[float] = []

        async def one() -> None:
            async with limiter.slot():
                ordinary.append(now() - begin)

        async with limiter.slot():
            limiter.hold()
            waiting = [asyncio.create_task(one()) for _ in range(2)]
            for _ in range(3):
                async with limiter.slot(past_hold=True) as slot:
                    questions.append(now() - begin)
            slot.observe(throttled(7.0))
            async with limiter.slot(past_hold=True):
                questions.append(now() - begin)
        await asyncio.sleep(1.0)
        limiter.let_go()
        await asyncio.gather(*waiting)
        return questions, ordinary

    questions, ordinary = virtual_time(work())
    assert questions == [pytest.approx(t, abs=0.01) for t in (0.501, 1.007, 1.513, 2.019)]
    assert ordinary == [pytest.approx(t, abs=0.01) for t in (8.513, 9.019)]


def test_every_observer_is_told_of_every_request(virtual_time: Run) -> None:
    async def work() -> None:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
        one: list[Request] = []
        other: list[Request] = []
        limiter.observers += [one.append, other.append]
        async with limiter.slot() as slot:
            slot.observe(throttled())
        async with limiter.slot(past_hold=True) as slot:
            slot.observe(Request(Kind.PROBE, Result.OK))
        assert one == other == [throttled(), Request(Kind.PROBE, Result.OK)]

    virtual_time(work())


def test_a_slot_whose_turn_does_not_come_gives_its_permit_back(virtual_time: Run) -> None:
    async def work() -> int:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
        limiter.hold()

        async def one() -> None:
            async with limiter.slot():
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one(), 1.0)
        return limiter.permits.in_use

    assert virtual_time(work()) == 0


def test_what_retries_owe_outlives_a_change_of_limits(virtual_time: Run) -> None:
    async def work() -> list[bool]:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
        while limiter.budget.spend(now()):
            pass
        limiter.change(Rate(50, 1.0), None)
        spent = [limiter.budget.spend(now())]
        await asyncio.sleep(0.2)
        return [*spent, limiter.budget.spend(now())]

    assert virtual_time(work()) == [False, True]


def test_a_first_request_that_leaves_late_puts_off_those_after_it_by_as_much(virtual_time: Run) -> None:
    """It waited for its connection; so no window of the portal holds one too many at the start."""

    async def scenario() -> list[float]:
        limiter = Limiter(Rate(10, 1.0), 8, max_pause=300.0, rng=Dealt())
        begin, left = now(), []
        for connecting in (0.25, 0.02, 0.0, 0.0):
            async with limiter.slot() as slot:
                await asyncio.sleep(connecting)
                left.append(now() - begin)
                await asyncio.sleep(0.05)
                slot.observe(Request(Kind.LINK, Result.OK, 1, http_status=201, seconds=0.05))
        return left

    # The second one left late, too; but the connection is there now, and that is chance.
    assert virtual_time(scenario()) == pytest.approx([0.25, 0.25 + 0.1012 + 0.02, 0.4524, 0.5536], abs=0.006)


def test_of_a_first_one_that_leaves_very_late_a_window_is_waited_at_most(virtual_time: Run) -> None:
    async def scenario() -> float:
        limiter = Limiter(Rate(10, 1.0), 8, max_pause=300.0, rng=Dealt())
        async with limiter.slot() as slot:
            await asyncio.sleep(60.0)
            slot.observe(Request(Kind.LINK, Result.AMBIGUOUS, 1, seconds=0.0))  # no answer tells nothing
            slot.observe(Request(Kind.LINK, Result.OK, 1, http_status=201, seconds=0.0))
        begin = now()
        async with limiter.slot(), limiter.slot():
            return now() - begin

    assert virtual_time(scenario()) == pytest.approx(0.1012, abs=0.006)


def test_who_waits_for_another_number_of_permits_is_told_of_it(virtual_time: Run) -> None:
    async def work() -> float:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
        begin = now()
        asyncio.get_running_loop().call_later(3.0, limiter.resize, 2)
        await limiter.resized()
        return now() - begin

    assert virtual_time(work()) == pytest.approx(3.0)


def test_as_long_as_anybody_holds_nobody_sends(virtual_time: Run) -> None:
    async def work() -> float:
        limiter = Limiter(Rate(10, 1.0), 1, max_pause=60.0, rng=Dealt())
        begin = now()
        limiter.hold()
        limiter.hold(USER)
        turn = asyncio.create_task(limiter.turn())
        await asyncio.sleep(1.0)
        limiter.let_go()
        assert limiter.is_held(USER)
        await asyncio.sleep(1.0)
        limiter.let_go(USER)
        assert not limiter.is_held(USER)
        await turn
        return now() - begin

    assert virtual_time(work()) == pytest.approx(2.0, abs=0.01)


def test_what_carries_no_links_needs_no_turn_of_theirs(virtual_time: Run) -> None:
    async def story() -> list[bool]:
        throttler = PacedThrottler(Rate(1000, 1.0))
        throttler.change_links(Rate(1, 10.0))
        taken = []
        for links in (1, 1, 0):
            taken.append(throttler.take(links))
            await asyncio.sleep(0.1)
        return taken

    assert virtual_time(story()) == [True, False, True]
