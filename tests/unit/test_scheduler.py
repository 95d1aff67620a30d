"""What is sent next, under a virtual clock."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.limits.budget import RetryBudget
from worker.scheduler import Scheduler

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def empty(budget: RetryBudget | None = None, backlog: int = 10_000) -> Scheduler[str]:
    return Scheduler(budget or RetryBudget(1.0), backlog=backlog)


def spent() -> RetryBudget:
    """A budget without a single retry left."""
    budget = RetryBudget(1.0)
    while budget.spend(now()):
        pass
    return budget


async def given(scheduler: Scheduler[str], most: int = 1) -> list[str]:
    group = await scheduler.next(most)
    scheduler.done(len(group))
    return group


async def all_given(scheduler: Scheduler[str], most: int = 1) -> list[str]:
    """Everything until it is all done."""
    everything = []
    while group := await given(scheduler, most):
        everything += group
    return everything


def test_fresh_ones_come_in_their_order_after_what_follows_from_earlier_answers(virtual_time: Run) -> None:
    async def story() -> list[str]:
        scheduler = empty()
        scheduler.offer("abc")
        scheduler.follow("xy")
        scheduler.close()
        return await all_given(scheduler)

    assert virtual_time(story()) == ["x", "y", "a", "b", "c"]


def test_a_group_has_as_many_as_may_be_sent_now_and_is_not_waited_to_be_full(virtual_time: Run) -> None:
    async def story() -> list[list[str]]:
        scheduler = empty()
        scheduler.offer("abcde")
        scheduler.close()
        return [await given(scheduler, 3), await given(scheduler, 3), await given(scheduler, 3)]

    assert virtual_time(story()) == [["a", "b", "c"], ["d", "e"], []]


def test_what_is_due_again_goes_before_everything_else_and_not_a_moment_earlier(virtual_time: Run) -> None:
    async def story() -> list[tuple[str, float]]:
        scheduler = empty()
        begin = now()
        scheduler.again("late", 5.0, is_retry=True)
        scheduler.again("soon", 2.0, is_retry=False)
        scheduler.offer("ab")
        scheduler.close()
        told = []
        for _ in range(4):
            (one,) = await given(scheduler)
            told.append((one, now() - begin))
            await asyncio.sleep(1.5)
        return told

    assert virtual_time(story()) == [("a", 0.0), ("b", 1.5), ("soon", 3.0), ("late", pytest.approx(5.0))]


def test_a_spent_budget_delays_retries_and_nothing_else(virtual_time: Run) -> None:
    async def story() -> list[tuple[str, float]]:
        budget = spent()
        scheduler = empty(budget)
        begin = now()
        scheduler.again("retry", 0.0, is_retry=True)
        scheduler.again("throttled", 0.0, is_retry=False)
        scheduler.offer("a")
        told = []
        for _ in range(3):
            (one,) = await given(scheduler)
            told.append((one, now() - begin))
        return told

    # The one fresh operation has earned a fifth of a retry, time earns the rest.
    assert virtual_time(story()) == [("throttled", 0.0), ("a", 0.0), ("retry", pytest.approx(0.8))]


def test_once_nothing_fresh_can_come_retries_need_no_budget(virtual_time: Run) -> None:
    async def story() -> tuple[list[str], float]:
        scheduler = empty(spent())
        begin = now()
        for name in "abcde":
            scheduler.again(name, 0.0, is_retry=True)
        scheduler.offer("f")
        scheduler.close()
        return await all_given(scheduler), now() - begin

    assert virtual_time(story()) == (["f", "a", "b", "c", "d", "e"], 0.0)


def test_after_a_second_in_which_nothing_fresh_came_retries_need_no_budget(virtual_time: Run) -> None:
    """A queue may stay empty for hours: what is left of it is not to trickle."""

    async def story() -> list[tuple[str, float]]:
        scheduler = empty(spent())
        begin = now()
        for name in "abcd":
            scheduler.again(name, 0.0, is_retry=True)
        scheduler.offer("f")
        asyncio.get_running_loop().call_later(1.5, scheduler.offer, "g")
        told = []
        for _ in range(6):
            (one,) = await given(scheduler)
            told.append((one, round(now() - begin, 3)))
        scheduler.again("e", 0.0, is_retry=True)
        (one,) = await given(scheduler)
        return [*told, (one, round(now() - begin, 3))]

    told = virtual_time(story())

    # The first by the budget; the others when it had been quiet for a second.
    assert told[:5] == [("f", 0.0), ("a", 0.8), ("b", 1.0), ("c", 1.0), ("d", 1.0)]
    # When a fresh one has come, the budget rules again: that has earned a fifth, time half of one since.
    assert told[5:] == [("g", 1.5), ("e", pytest.approx(1.6))]


@pytest.mark.parametrize("backlog", [50, 10_000])
def test_however_many_wait_to_be_sent_again_no_turn_is_left_unused(virtual_time: Run, backlog: int) -> None:
    """A sixth fails five times: sooner or later as many wait as may, and nothing fresh is let in."""

    async def story() -> float:
        scheduler: Scheduler[tuple[int, int]] = Scheduler(RetryBudget(10.0), backlog=backlog)
        fresh = iter(range(10**9))

        async def feed() -> None:
            while True:
                scheduler.offer([(next(fresh), 1) for _ in range(8)])
                await scheduler.wait_for_room(8)

        feeding = asyncio.create_task(feed())
        begin = now()
        for turn in range(6_000):
            await asyncio.sleep(max(0.0, begin + turn / 100 - now()))
            ((number, tries),) = await scheduler.next(1)
            if number % 6 == 0 and tries < 5:
                scheduler.again((number, tries + 1), 1.0, is_retry=True)
            scheduler.done(1)
        feeding.cancel()
        return now() - begin

    assert virtual_time(story()) == pytest.approx(60.0, abs=0.1)


def test_it_is_all_done_only_when_nobody_has_anything_in_hand(virtual_time: Run) -> None:
    async def story() -> list[list[str]]:
        scheduler = empty()
        scheduler.offer("a")
        scheduler.close()
        (one,) = await scheduler.next(1)
        others = [asyncio.create_task(given(scheduler)) for _ in range(2)]
        await asyncio.sleep(10.0)
        assert not any(other.done() for other in others)
        scheduler.again(one, 3.0, is_retry=True)
        scheduler.done(1)
        return sorted([await other for other in others])

    assert virtual_time(story()) == [[], ["a"]]


def test_it_waits_for_what_is_still_to_come(virtual_time: Run) -> None:
    async def story() -> tuple[list[str], float]:
        scheduler = empty()
        begin = now()
        asyncio.get_running_loop().call_later(7.0, scheduler.offer, "a")
        return await given(scheduler), now() - begin

    assert virtual_time(story()) == (["a"], 7.0)


def test_stopped_it_gives_nothing_to_those_who_wait_nor_to_those_who_come(virtual_time: Run) -> None:
    async def story() -> list[list[str]]:
        scheduler = empty()
        waiting = asyncio.create_task(scheduler.next(1))
        room = asyncio.create_task(scheduler.wait_for_room(0))
        await asyncio.sleep(1.0)
        scheduler.stop()
        await room
        scheduler.offer("a")
        return [await waiting, await scheduler.next(1)]

    assert virtual_time(story()) == [[], []]


def test_there_is_room_while_few_fresh_ones_wait_and_few_wait_to_be_sent_again(virtual_time: Run) -> None:
    async def story() -> list[float]:
        scheduler = empty(backlog=2)
        begin = now()
        waits = []

        async def take_one_a_second() -> None:
            for _ in range(9):
                await given(scheduler)
                await asyncio.sleep(1.0)

        scheduler.offer("abcd")
        taking = asyncio.create_task(take_one_a_second())
        await scheduler.wait_for_room(2)
        waits.append(now() - begin)
        for name in "xy":
            scheduler.again(name, 10.0, is_retry=False)
        await scheduler.wait_for_room(100)
        waits.append(now() - begin)
        taking.cancel()
        return waits

    assert virtual_time(story()) == [2.0, pytest.approx(12.0)]


def test_all_that_waits_can_be_looked_through(virtual_time: Run) -> None:
    async def story() -> list[str]:
        scheduler = empty()
        scheduler.offer("ab")
        scheduler.follow("c")
        scheduler.again("d", 9.0, is_retry=True)
        scheduler.again("e", 9.0, is_retry=False)
        await scheduler.next(1)
        return sorted(scheduler.waiting)

    assert virtual_time(story()) == ["a", "b", "d", "e"]
