"""Turns that processes share, under a virtual clock: together they keep to the rate, and pause as one."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from itertools import count, cycle, pairwise
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.errors import QueueError
from worker.limits import Limiter
from worker.limits.throttler import SharedThrottler
from worker.models import Kind, Request, Result
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]

RATES = [Rate(1, 1.0), Rate(50, 1.0), Rate(500, 10.0), Rate(1500, 60.0), Rate(7, 0.1)]


def most_in_any_window(times: list[float], period: float) -> int:
    """By trying a window at each turn, ends included."""
    return max(bisect_right(times, begin + period) - i for i, begin in enumerate(times))


class Book:
    """What Redis does, as far away as that may be; it knows the time."""

    def __init__(self, distance: float = 0.0) -> None:
        self.distance = distance
        self.due = 0.0
        self.booked = 0
        self.error: Exception | None = None
        self.keeps_order = False

    def book_at_once(self, *, step: float, late: float) -> float | None:  # noqa: ARG002 - none is late here
        if self.distance or self.error is not None or self.due > now():
            return None
        self.booked += 1
        turn = max(self.due, now())
        self.due = turn + step
        return turn

    async def book(self, *, step: float, late: float, pause: float, urgent: bool = False) -> float:  # noqa: ARG002 - this one has no pauses to pass
        await asyncio.sleep(self.distance)
        if self.error is not None:
            raise self.error
        self.booked += 1
        least = max(0.0, self.distance - late / 2)
        turn = max(self.due, now() + least, now() + pause if pause > 0 else 0.0)
        self.due = turn + step
        await asyncio.sleep(self.distance)
        return turn

    async def postpone(self, by: float, before: float) -> bool:
        if self.keeps_order or self.due > before:
            return False
        self.due += by
        return True

    async def give_back(self, due: float, step: float) -> None:
        if self.due == due + step:
            self.due = due


async def turns(throttlers: list[SharedThrottler], waiters: int, each: int) -> list[float]:
    """When each turn was given, in any process, to one of many who wait at once."""
    given: list[float] = []

    async def wait(throttler: SharedThrottler) -> None:
        for _ in range(each):
            await throttler.acquire()
            given.append(now())

    async with asyncio.TaskGroup() as group:
        for throttler in throttlers:
            for _ in range(waiters):
                group.create_task(wait(throttler))
    return sorted(given)


def let_timers_wake_late(monkeypatch: pytest.MonkeyPatch, most: float) -> None:
    """Every sleep lasts up to so many seconds longer than asked for."""
    lateness = cycle([1.0, 0.0, 0.6, 0.08, 1.0, 0.9, 0.0, 0.0, 0.34, 0.2])
    sleep = asyncio.sleep

    async def late(seconds: float) -> None:
        await sleep(seconds + next(lateness) * most if seconds > 0 else 0)

    monkeypatch.setattr(asyncio, "sleep", late)


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("processes", [1, 3, 12])
@pytest.mark.parametrize("distance", [0.0, 0.0002])
def test_no_window_holds_more_turns_of_all_together_than_the_limit(
    virtual_time: Run, rate: Rate, processes: int, distance: float
) -> None:
    async def work() -> list[float]:
        book = Book(distance)
        each = 3 * rate.limit // (4 * processes) + 2
        return await turns([SharedThrottler(rate, book) for _ in range(processes)], 4, each)

    assert most_in_any_window(virtual_time(work()), rate.period) <= rate.limit


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("processes", [1, 5])
@pytest.mark.parametrize("share", [0.005, 0.02, 0.3])
def test_no_window_holds_more_however_late_timers_wake(
    virtual_time: Run, monkeypatch: pytest.MonkeyPatch, rate: Rate, processes: int, share: float
) -> None:
    """Late by up to that share of the window."""

    async def work() -> list[float]:
        each = 3 * rate.limit // processes + 2
        return await turns([SharedThrottler(rate, book) for book in [Book()] * processes], 1, each)

    let_timers_wake_late(monkeypatch, share * rate.period)
    assert most_in_any_window(virtual_time(work()), rate.period) <= rate.limit


@pytest.mark.parametrize("rate", RATES[:4], ids=str)
@pytest.mark.parametrize("processes", [1, 3])
def test_wished_for_all_the_time_they_reach_98_percent_of_the_rate(
    virtual_time: Run, rate: Rate, processes: int
) -> None:
    async def work() -> list[float]:
        book = Book(0.0002)
        each = 4 * rate.limit // processes + 5
        return await turns([SharedThrottler(rate, book) for _ in range(processes)], 2, each)

    given = virtual_time(work())
    reached = (len(given) - 1) / (given[-1] - given[0])
    assert 0.98 * rate.per_second <= reached <= rate.per_second


def test_who_shares_gets_as_much_as_the_others(virtual_time: Run) -> None:
    async def work() -> list[int]:
        book = Book()
        counts = [0, 0, 0]

        async def wish(number: int) -> None:
            throttler = SharedThrottler(Rate(30, 1.0), book)
            while True:
                await throttler.acquire()
                counts[number] += 1

        # The first process has many who wait, the others one each.
        wishing = [asyncio.create_task(wish(number)) for number in (0, 1, 2)]
        await asyncio.sleep(10.0)
        for task in wishing:
            task.cancel()
        return counts

    first, *others = virtual_time(work())
    assert sum((first, *others)) == pytest.approx(300, abs=10)
    assert all(abs(other - first) <= 1 for other in others)


def test_a_pause_that_one_is_told_of_holds_all_back(virtual_time: Run) -> None:
    async def work() -> list[float]:
        book = Book()
        throttlers = [SharedThrottler(Rate(20, 1.0), book) for _ in range(4)]
        waiting = asyncio.create_task(turns(throttlers, 2, 10))
        await asyncio.sleep(1.0)
        throttlers[0].pause(5.0)
        return await waiting

    begin = 1_000.0
    given = virtual_time(work())
    in_pause = [time - begin for time in given if begin + 1.0 < time < begin + 6.0]
    # Until the one who knows books its next turn, the others use those that they have: one each.
    assert 1 <= len(in_pause) <= 4
    assert all(time < 1.3 for time in in_pause)
    assert most_in_any_window(given, 1.0) <= 20


def test_who_is_told_of_a_pause_does_not_use_the_turn_it_has(virtual_time: Run) -> None:
    async def work() -> float:
        throttler = SharedThrottler(Rate(1, 1.0), Book())
        await throttler.acquire()
        begin = now()
        waiting = asyncio.create_task(throttler.acquire())
        await asyncio.sleep(0.5)  # it sleeps until 1.012
        throttler.pause(2.0)
        await waiting
        return now() - begin

    assert virtual_time(work()) == pytest.approx(2.5)


def test_turns_that_were_booked_before_a_hold_are_not_spent_at_its_end(virtual_time: Run) -> None:
    async def work() -> list[float]:
        book = Book()
        throttlers = [SharedThrottler(Rate(5, 1.0), book) for _ in range(5)]
        waiting = asyncio.create_task(turns(throttlers, 2, 4))
        await asyncio.sleep(1.0)
        for throttler in throttlers:
            throttler.hold()
        await asyncio.sleep(10.0)
        for throttler in throttlers:
            throttler.let_go()
        return await waiting

    given = virtual_time(work())
    assert len(given) == 40
    assert not [time for time in given if 1_001.0 < time < 1_011.0]
    assert most_in_any_window(given, 1.0) <= 5


def test_a_turn_that_is_missed_is_let_go(virtual_time: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep

    async def work() -> tuple[list[float], int]:
        book = Book()
        book.keeps_order = True
        throttler = SharedThrottler(Rate(10, 1.0), book)
        given = await turns([throttler], 1, 3)

        async def oversleep(seconds: float) -> None:
            if seconds > 0:
                monkeypatch.setattr(asyncio, "sleep", sleep)
                seconds += 0.5
            await sleep(seconds)

        monkeypatch.setattr(asyncio, "sleep", oversleep)
        await throttler.acquire()
        return [*given, now()], book.booked

    given, booked = virtual_time(work())
    assert booked == 5
    assert given[-1] - given[-2] > 0.5


@pytest.mark.parametrize("lateness", [0.004, 0.02, 0.15])
def test_a_turn_that_is_taken_late_puts_off_those_that_are_not_booked_and_is_not_lost(
    virtual_time: Run, monkeypatch: pytest.MonkeyPatch, lateness: float
) -> None:
    """Each lateness costs what it is beyond the headroom, not a turn; and no window holds more."""
    rate = Rate(50, 1.0)
    numbers = count()
    sleep = asyncio.sleep

    async def sometimes_late(seconds: float) -> None:
        await sleep(seconds + (lateness if seconds > 0 and not next(numbers) % 7 else 0.0))

    async def work() -> list[float]:
        book = Book()
        return await turns([SharedThrottler(rate, book) for _ in range(2)], 1, 100)

    monkeypatch.setattr(asyncio, "sleep", sometimes_late)
    given = virtual_time(work())
    assert most_in_any_window(given, 1.0) <= 50
    lost = max(0.0, lateness - 0.003) * 200 / 7
    assert given[-1] - given[0] <= 199 * 0.02024 + 1.3 * lost + 0.1


def test_a_far_book_starves_nobody(virtual_time: Run) -> None:
    given = virtual_time(turns([SharedThrottler(Rate(50, 1.0), Book(0.1))], 3, 10))
    assert len(given) == 30
    assert given[-1] - given[0] < 30 * 0.25


def test_a_cancelled_waiter_blocks_nobody(virtual_time: Run) -> None:
    async def work() -> float:
        throttler = SharedThrottler(Rate(1, 1.0), Book())
        await throttler.acquire()
        waiting = asyncio.create_task(throttler.acquire())
        await asyncio.sleep(0.5)
        waiting.cancel()
        begin = now()
        await throttler.acquire()
        return now() - begin

    assert virtual_time(work()) <= 2.1


def test_who_gets_no_turn_ever_is_told_and_blocks_nobody(virtual_time: Run) -> None:
    async def work() -> None:
        book = Book()
        throttler = SharedThrottler(Rate(10, 1.0), book)
        book.error = QueueError("redis://queue: no permission")
        with pytest.raises(QueueError, match="no permission"):
            await throttler.acquire()
        book.error = None
        await throttler.acquire()

    virtual_time(work())


def test_a_limiter_takes_its_turns_from_the_book_it_is_given(virtual_time: Run) -> None:
    async def work() -> list[float]:
        book = Book()
        one, other = (
            Limiter(Rate(2, 1.0), 4, max_pause=60.0, rng=Random(1), turns=book)  # noqa: S311 - a test
            for _ in range(2)
        )
        begin = now()
        given = []
        for limiter in (one, other, one):
            await limiter.turn()
            given.append(now() - begin)
        one.observe(Request(Kind.LINK, Result.THROTTLED, 1, retry_after=10.0))
        await one.turn()
        await other.turn()
        return [*given, now() - begin]

    *given, last = virtual_time(work())
    assert [b - a for a, b in pairwise(given)] == [pytest.approx(0.506, abs=0.006)] * 2
    assert 11.0 < last < 12.0


def test_a_question_past_the_hold_gets_a_turn_of_the_shared_rate(virtual_time: Run) -> None:
    async def story() -> list[float]:
        book = Book()
        throttler = SharedThrottler(Rate(1, 1.0), book)
        throttler.hold()
        begin = now()
        given = []
        for _ in range(2):
            await throttler.acquire(past_hold=True)
            given.append(now() - begin)
        assert book.booked == 2
        return given

    first, second = virtual_time(story())
    assert first == pytest.approx(0.0)
    assert second >= 1.0


def test_a_first_request_that_leaves_late_puts_off_the_turns_of_all(virtual_time: Run) -> None:
    async def scenario() -> tuple[float, float]:
        book = Book()
        ours, theirs = (SharedThrottler(Rate(10, 1.0), book) for _ in range(2))
        begin = now()
        await ours.acquire()
        ours.put_off(0.25)
        await ours.acquire()
        second = now() - begin
        await theirs.acquire()
        return second, now() - begin

    assert virtual_time(scenario()) == pytest.approx((0.3512, 0.4524), abs=0.006)
