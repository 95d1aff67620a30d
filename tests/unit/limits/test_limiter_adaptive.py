"""A limiter that learns: what its controller decides holds for turns and permits."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import Highest, now
from worker.limits import Limiter
from worker.limits.batch_size import BatchSize
from worker.limits.change import Change, Knob, Learned, Why
from worker.models import Kind, Request, Result
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]

OK = Request(Kind.LINK, Result.OK, 1, seconds=0.2)
THROTTLED = Request(Kind.LINK, Result.THROTTLED, 1, reason="throttled", retry_after=0.0)
LOST = Request(Kind.LINK, Result.AMBIGUOUS, 1, reason="timeout", seconds=0.1)


FIFTY = Rate(50, 1.0)


def adaptive(rate: Rate = FIFTY, learned: Learned | None = None) -> Limiter:
    limiter = Limiter(rate, 16, max_pause=60.0, rng=Highest(0), adapts_rate=True, learned=learned)
    limiter.resize(16, adapts=True)
    return limiter


async def steps(limiter: Limiter, turns: int) -> list[float]:
    """Seconds between turns."""
    given = []
    for _ in range(turns):
        await limiter.turn()
        given.append(now())
    return [after - before for before, after in pairwise(given)]


def test_after_a_throttle_answer_turns_come_slower(virtual_time: Run) -> None:
    async def work() -> list[float]:
        limiter = adaptive()
        limiter.observe(THROTTLED)
        return await steps(limiter, 5)

    assert virtual_time(work())[1:] == pytest.approx([1.012 / 35] * 3)


def test_a_rate_that_does_not_adapt_stays(virtual_time: Run) -> None:
    async def work() -> list[float]:
        limiter = Limiter(Rate(50, 1.0), 16, max_pause=60.0, rng=Highest(0))
        limiter.observe(THROTTLED)
        return await steps(limiter, 5)

    assert virtual_time(work())[1:] == pytest.approx([1.012 / 50] * 3)


def test_requests_that_fill_the_permits_get_more_of_them(virtual_time: Run) -> None:
    async def work() -> tuple[list[Change], int]:
        limiter = adaptive(Rate(1000, 1.0))
        changes: list[Change] = []
        limiter.tell_change.append(changes.append)
        assert limiter.permits.limit == 2

        async def lane() -> None:
            while now() < 1060:
                async with limiter.slot() as slot:
                    await asyncio.sleep(0.2)
                    slot.observe(OK)

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(lane())
        return changes, limiter.permits.limit

    changes, permits = virtual_time(work())
    assert permits >= 15
    assert (changes[0].knob, changes[0].was, changes[0].now, changes[0].why) == (
        Knob.CONCURRENCY,
        2,
        3,
        Why.PROBE,
    )


def test_who_waits_for_a_turn_is_not_in_flight(virtual_time: Run) -> None:
    async def work() -> int:
        limiter = adaptive(Rate(2, 1.0))

        async def lane() -> None:
            while now() < 1100:
                async with limiter.slot() as slot:
                    await asyncio.sleep(0.2)
                    slot.observe(OK)

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(lane())
        return limiter.permits.limit

    assert virtual_time(work()) == 2


def test_a_question_is_none_of_those_in_flight(virtual_time: Run) -> None:
    async def work() -> None:
        limiter = adaptive()
        async with limiter.slot(past_hold=True), limiter.slot(past_hold=True), limiter.slot():
            await asyncio.sleep(1.0)
            assert limiter._flying == 1
        assert limiter._flying == 0

    virtual_time(work())


def test_turns_come_at_the_rate_that_was_told_if_it_is_not_learned(virtual_time: Run) -> None:
    async def work() -> list[float]:
        limiter = Limiter(FIFTY, 16, max_pause=60.0, rng=Highest(0))
        limiter.change(Rate(10, 1.0), None)
        return await steps(limiter, 3)

    assert virtual_time(work())[1] == pytest.approx(1.012 / 10)


def test_lost_answers_take_permits_away(virtual_time: Run) -> None:
    async def work() -> int:
        limiter = adaptive(learned=Learned(concurrency=8))
        assert limiter.permits.limit == 8
        for _ in range(2):
            await asyncio.sleep(1.0)
            limiter.observe(LOST)
        return limiter.permits.limit

    assert virtual_time(work()) == 4


def test_a_fixed_number_is_what_it_was_told_whatever_happens(virtual_time: Run) -> None:
    async def work() -> list[int]:
        limiter = adaptive(learned=Learned(concurrency=8))
        limiter.resize(5)
        permits = [limiter.permits.limit]
        for _ in range(30):
            await asyncio.sleep(1.0)
            limiter.observe(LOST)
        permits.append(limiter.permits.limit)
        limiter.resize(4, adapts=True)
        permits.append(limiter.permits.limit)
        limiter.resize(3, adapts=True)
        permits.append(limiter.permits.limit)
        return permits

    assert virtual_time(work()) == [5, 5, 4, 3]


def test_a_learned_rate_is_bounded_by_the_one_that_is_told(virtual_time: Run) -> None:
    async def work() -> list[float]:
        limiter = adaptive(learned=Learned(rate=20.0))
        first = await steps(limiter, 3)
        limiter.change(Rate(10, 1.0), None)
        await limiter.turn()
        return [first[1], *await steps(limiter, 3)]

    before, _, after = virtual_time(work())
    assert before == pytest.approx(1.012 / 20)
    assert after == pytest.approx(1.012 / 10)


def test_the_size_of_batches_is_told_and_turned_by_nobody_here(virtual_time: Run) -> None:
    async def work() -> list[Change]:
        limiter = adaptive()
        changes: list[Change] = []
        limiter.tell_change.append(changes.append)
        sizes = BatchSize(longest=10.0)
        limiter.controller.sizes(sizes)
        sizes.too_large(20)
        limiter.observe(OK)
        return changes

    (change,) = virtual_time(work())
    assert (change.knob, change.was, change.now) == (Knob.BATCH_SIZE, 20, 10)


@pytest.mark.parametrize("rate", [Rate(500, 10.0), Rate(7, 0.1), Rate(1, 1.0)], ids=str)
def test_no_window_holds_more_than_the_rate_that_was_told_however_it_adapts(
    virtual_time: Run, rate: Rate
) -> None:
    chance = Random(1)  # noqa: S311 - a test

    async def work() -> list[float]:
        limiter = adaptive(rate)
        given = []
        for number in range(30 * rate.limit):
            await limiter.turn()
            given.append(now())
            await asyncio.sleep(chance.choice([0.0, 0.0, 0.02]))
            limiter.observe(THROTTLED if number % (5 * rate.limit) == rate.limit else OK)
        return given

    given = virtual_time(work())
    for begin in range(len(given) - rate.limit):
        assert given[begin + rate.limit] - given[begin] > rate.period


def test_who_keeps_lanes_is_told_of_each_new_number_of_permits(virtual_time: Run) -> None:
    async def work() -> list[bool]:
        limiter = adaptive(learned=Learned(concurrency=8))
        await limiter.resized()
        waiting = asyncio.create_task(limiter.resized())
        told = []
        for _ in range(2):
            await asyncio.sleep(1.0)
            told.append(waiting.done())
            limiter.observe(LOST)
        await waiting
        return told

    assert virtual_time(work()) == [False, False]
