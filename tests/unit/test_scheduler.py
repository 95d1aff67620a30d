"""What is sent next, under a virtual clock."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.unit.dealt import now
from worker.limits.budget import RetryBudget
from worker.scheduler import CARRIED, Scheduler

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def empty(budget: RetryBudget | None = None, backlog: int = 10_000, gather: float = 0.0) -> Scheduler[str]:
    return Scheduler(budget or RetryBudget(1.0), backlog=backlog, gather=gather)


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


async def timed(scheduler: Scheduler[str], most: int) -> tuple[list[str], float]:
    """A group, and how long it took to be given."""
    begin = now()
    group = await given(scheduler, most)
    return group, round(now() - begin, 6)


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


def test_what_may_itself_be_at_fault_goes_behind_what_is_fresh(virtual_time: Run) -> None:
    async def story() -> list[str]:
        scheduler = empty()
        scheduler.offer("abc")
        (first,) = await given(scheduler)
        scheduler.behind(first)
        scheduler.done(1)
        scheduler.close()
        return [first, *[one for _ in range(3) for one in await given(scheduler)]]

    assert virtual_time(story()) == ["a", "b", "c", "a"]


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


@pytest.mark.parametrize("comes", ["fresh", "behind"])
def test_there_is_no_room_while_those_that_wait_are_about_too_much(virtual_time: Run, comes: str) -> None:
    async def story() -> list[float]:
        scheduler: Scheduler[int] = Scheduler(RetryBudget(10.0), carries=lambda carried: carried)
        begin, waits = now(), []
        large = [CARRIED // 2, CARRIED // 2, 1]
        if comes == "fresh":
            scheduler.offer(large)
        else:
            for operation in large:
                scheduler.behind(operation)

        async def take_one_a_second() -> None:
            for _ in large:
                await asyncio.sleep(1.0)
                await scheduler.next(1)
                scheduler.done(1)

        taking = asyncio.create_task(take_one_a_second())
        await scheduler.wait_for_room(100)
        waits.append(now() - begin)
        await taking
        scheduler.offer([CARRIED - 1])  # nothing is left of what is gone
        await scheduler.wait_for_room(100)
        waits.append(now() - begin)
        return waits

    assert virtual_time(story()) == [1.0, 3.0]


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


def test_a_group_that_is_not_full_waits_a_little_for_more_and_then_goes_as_it_is(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("a")
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, scheduler.offer, "b")
        loop.call_later(0.15, scheduler.follow, "x")
        loop.call_later(0.3, scheduler.offer, "c")
        return [await timed(scheduler, 5), await timed(scheduler, 5)]

    # The second waits 0.1 s for something to come, and as long as any for more.
    assert virtual_time(story()) == [(["x", "a", "b"], 0.2), (["c"], 0.3)]


def test_a_group_goes_as_soon_as_it_is_full_and_what_is_left_waits_anew(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("ab")
        asyncio.get_running_loop().call_later(0.1, scheduler.offer, "cd")
        return [await timed(scheduler, 3), await timed(scheduler, 3)]

    assert virtual_time(story()) == [(["a", "b", "c"], 0.1), (["d"], 0.2)]


def test_those_who_wait_for_a_group_together_wait_no_longer_than_one(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("a")
        first = asyncio.create_task(timed(scheduler, 3))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(timed(scheduler, 3))
        await asyncio.sleep(0.3)
        scheduler.close()
        return sorted([await first, await second])

    assert virtual_time(story()) == [([], 0.3), (["a"], 0.2)]


def test_nothing_waits_for_more_once_nothing_fresh_can_come(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("a")
        asyncio.get_running_loop().call_later(0.05, scheduler.close)
        first = await timed(scheduler, 5)
        scheduler.follow("x")
        return [first, await timed(scheduler, 5), await timed(scheduler, 5)]

    assert virtual_time(story()) == [(["a"], 0.05), (["x"], 0.0), ([], 0.0)]


def test_nothing_waits_for_more_where_each_goes_alone(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        alone, together = empty(), empty(gather=0.2)
        alone.offer("a")
        together.offer("b")
        return [await timed(alone, 5), await timed(together, 1)]

    assert virtual_time(story()) == [(["a"], 0.0), (["b"], 0.0)]


def test_what_falls_due_shortly_one_after_the_other_falls_due_together(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        await asyncio.sleep(-now() % 0.2)
        for name, seconds in (("a", 1.01), ("b", 1.15), ("c", 1.19), ("d", 1.21)):
            scheduler.again(name, seconds, is_retry=name in "ac")
        return [await timed(scheduler, 9), await timed(scheduler, 9)]

    assert virtual_time(story()) == [(["b", "a", "c"], 1.2), (["d"], 0.2)]


def test_what_is_due_at_once_is_not_put_off_to_be_gathered(virtual_time: Run) -> None:
    async def story() -> tuple[list[str], float]:
        scheduler = empty(gather=0.2)
        await asyncio.sleep(0.07)
        scheduler.again("a", 0.0, is_retry=False)
        return await timed(scheduler, 9)

    assert virtual_time(story()) == (["a"], 0.0)


def test_where_each_goes_alone_it_falls_due_to_the_moment(virtual_time: Run) -> None:
    async def story() -> tuple[list[str], float]:
        scheduler = empty()
        scheduler.again("a", 1.01, is_retry=False)
        return await timed(scheduler, 9)

    assert virtual_time(story()) == (["a"], 1.01)


def test_one_that_is_to_go_alone_goes_first_and_with_no_other(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("abc")
        scheduler.follow("x")
        scheduler.again("due", 0.0, is_retry=False)
        scheduler.alone("first")
        scheduler.alone("second")
        assert sorted(scheduler.waiting) == ["a", "b", "c", "due", "first", "second", "x"]
        return [await timed(scheduler, 4) for _ in range(3)]

    assert virtual_time(story()) == [(["first"], 0.0), (["second"], 0.0), (["due", "x", "a", "b"], 0.0)]


def test_one_that_is_to_go_alone_wakes_who_waits_for_more_and_they_wait_on(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("a")
        asyncio.get_running_loop().call_later(0.1, scheduler.alone, "alone")
        return [await timed(scheduler, 5), await timed(scheduler, 5)]

    assert virtual_time(story()) == [(["alone"], 0.1), (["a"], 0.2)]


def test_one_that_is_to_go_alone_needs_no_retry_budget_and_is_waited_for(virtual_time: Run) -> None:
    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(spent(), gather=0.2)
        scheduler.offer("a")
        scheduler.close()
        (one,) = await scheduler.next(5)
        waiting = asyncio.create_task(timed(scheduler, 5))
        await asyncio.sleep(1.0)
        scheduler.alone(one)
        scheduler.done(1)
        return [await waiting, await timed(scheduler, 5)]

    assert virtual_time(story()) == [(["a"], 1.0), ([], 0.0)]


def test_stopped_it_does_not_give_out_one_that_is_to_go_alone(virtual_time: Run) -> None:
    async def story() -> tuple[list[str], list[str]]:
        scheduler = empty()
        scheduler.alone("a")
        scheduler.stop()
        return await scheduler.next(5), list(scheduler.waiting)

    assert virtual_time(story()) == ([], ["a"])


def test_one_that_brings_back_more_than_a_group_may_goes_alone(virtual_time: Run) -> None:
    async def story() -> list[list[str]]:
        scheduler: Scheduler[str] = Scheduler(RetryBudget(1.0), weigh=len, heaviest=3)
        scheduler.follow(["xx"])
        scheduler.offer(["a", "bbbbb", "c", "dd", "e"])
        scheduler.again("zz", 0.0, is_retry=False)
        scheduler.close()
        groups = []
        while group := await given(scheduler, 9):
            groups.append(group)
        return groups

    assert virtual_time(story()) == [["zz", "a"], ["xx"], ["bbbbb"], ["c", "dd"], ["e"]]


def test_when_nothing_is_gathered_any_more_due_times_are_exact_and_nothing_waits(virtual_time: Run) -> None:
    """As when the portal has stopped taking many in one request."""

    async def story() -> list[tuple[list[str], float]]:
        scheduler = empty(gather=0.2)
        scheduler.offer("a")
        waiting = asyncio.ensure_future(timed(scheduler, 5))
        await asyncio.sleep(0.05)
        scheduler.gather_no_more()
        first = await waiting
        scheduler.again("b", 0.31, is_retry=False)
        return [first, await timed(scheduler, 5)]

    assert virtual_time(story()) == [(["a"], 0.05), (["b"], 0.31)]


def of_links_and_looks(gather: float = 0.0) -> Scheduler[str]:
    """Links are capital letters."""
    return Scheduler(RetryBudget(1.0), gather=gather, writes=str.isupper)


def test_a_group_holds_few_links_and_as_many_looks_as_fit(virtual_time: Run) -> None:
    async def story() -> list[list[str]]:
        scheduler = of_links_and_looks()
        scheduler.offer("abAcdBef")
        return [await scheduler.next(7, 1), await scheduler.next(4, 2)]

    assert virtual_time(story()) == [list("abAcd"), list("Bef")]


def test_no_look_overtakes_links_that_follow_from_earlier_ones(virtual_time: Run) -> None:
    """Or more and more links would wait in memory for their turns."""

    async def story() -> list[list[str]]:
        scheduler = of_links_and_looks()
        scheduler.offer("abc")
        scheduler.follow("ABC")
        return [await scheduler.next(20, 2) for _ in range(2)]

    assert virtual_time(story()) == [list("AB"), list("Cabc")]


def test_a_group_with_as_many_links_as_may_go_waits_for_no_more(virtual_time: Run) -> None:
    async def story() -> list[tuple[int, float]]:
        scheduler = of_links_and_looks(gather=0.2)
        told = []
        for links in ("ABC", "ABa", "abcdef"):
            begin = now()
            scheduler.offer(links)
            group = await scheduler.next(20, 3)
            told.append((len(group), round(now() - begin, 6)))
        return told

    assert virtual_time(story()) == [(3, 0.0), (3, 0.2), (6, 0.2)]
