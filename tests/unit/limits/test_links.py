"""Links under a rate of their own: never too many in a window, however they share requests; hardly fewer."""

import asyncio
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Coroutine
from itertools import accumulate, cycle
from random import Random
from typing import Any

import pytest

from tests.unit.dealt import Highest, now
from worker.limits import Limiter
from worker.limits.links import LinkTurns
from worker.quantities import Rate

Run = Callable[[Coroutine[Any, Any, Any]], Any]

RATES = [Rate(1, 1.0), Rate(50, 1.0), Rate(97, 1.0), Rate(500, 10.0), Rate(100, 60.0), Rate(7, 0.1)]


def most_in_any_window(left: list[tuple[float, int]], period: float) -> int:
    """Links, not requests; by trying a window at each request, ends included."""
    times = [time for time, _ in left]
    before = [0, *accumulate(count for _, count in left)]
    return max(before[bisect_right(times, at + period)] - before[bisect_left(times, at)] for at in times)


async def leave(limiter: Limiter, sizes: list[int], seconds: float) -> list[tuple[float, int]]:
    """When requests left that carry so many links, one size after the other and again."""
    left: list[tuple[float, int]] = []
    size = cycle(sizes)

    async def lane() -> None:
        while True:
            links = next(size)
            async with limiter.slot(links=links):
                left.append((now(), links))

    lanes = [asyncio.create_task(lane()) for _ in range(4)]
    await asyncio.sleep(seconds)
    for one in lanes:
        one.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)
    return left


FREE = Rate(1000, 1.0)


def limiter(links: Rate | None, rate: Rate = FREE) -> Limiter:
    return Limiter(rate, 4, link_rate=links, max_pause=300.0, rng=Highest(0))


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("shape", ["single", "full", "mixed", "wild"])
def test_no_window_holds_more_links_than_the_limit_however_they_share_requests(
    virtual_time: Run, rate: Rate, shape: str
) -> None:
    async def work() -> list[tuple[float, int]]:
        limits = limiter(rate)
        most = limits.most_links
        dice = Random(7)  # noqa: S311 - a test
        sizes = {
            "single": [1],
            "full": [most],
            "mixed": [most, 1, 1, 0, max(1, most // 2), 0],
            "wild": [dice.randint(0, rate.limit) for _ in range(41)],
        }[shape]
        return await leave(limits, sizes, 6 * rate.period)

    assert most_in_any_window(virtual_time(work()), rate.period) <= rate.limit


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("full", [False, True])
def test_wished_for_all_the_time_links_reach_their_rate(virtual_time: Run, rate: Rate, full: bool) -> None:
    async def work() -> float:
        limits = limiter(rate)
        left = await leave(limits, [limits.most_links if full else 1], 10 * rate.period)
        return sum(count for _, count in left[:-1]) / (left[-1][0] - left[0][0])

    assert 0.97 * rate.per_second <= virtual_time(work()) <= rate.per_second


def test_what_carries_no_link_keeps_to_the_rate_of_requests_alone(virtual_time: Run) -> None:
    async def work() -> int:
        return len(await leave(limiter(Rate(1, 1.0), Rate(20, 1.0)), [0], 10.0))

    assert virtual_time(work()) == pytest.approx(198, abs=2)


def test_links_keep_to_the_rate_of_requests_too(virtual_time: Run) -> None:
    async def work() -> int:
        return len(await leave(limiter(Rate(100, 1.0), Rate(5, 1.0)), [10], 10.0))

    assert virtual_time(work()) == pytest.approx(50, abs=1)


def test_after_a_pause_links_come_as_slowly_as_ever(virtual_time: Run) -> None:
    """They are counted when they leave: those that waited for the end of the pause would else be a burst."""

    async def work() -> list[tuple[float, int]]:
        limits = limiter(Rate(5, 1.0))
        asyncio.get_running_loop().call_later(2.0, limits._throttler.pause, 10.0)
        return await leave(limits, [1], 20.0)

    left = virtual_time(work())
    assert most_in_any_window(left, 1.0) <= 5
    assert not [at for at, _ in left if 1_002.1 < at < 1_012.0]
    assert left[0][0] < 1_002.0
    assert left[-1][0] > 1_012.0


@pytest.mark.parametrize(
    ("links", "requests", "most"),
    [
        (Rate(50, 1.0), Rate(50, 1.0), 50),
        (Rate(500, 10.0), Rate(50, 1.0), 50),
        (Rate(5, 1.0), Rate(50, 1.0), 5),
        (Rate(1, 1.0), Rate(50, 1.0), 1),
        (Rate(100, 60.0), Rate(50, 1.0), 1),
        (Rate(100, 60.0), Rate(10, 60.0), 10),
        (Rate(7, 0.1), Rate(50, 1.0), 7),
        (Rate(75, 9.0), Rate(50, 1.0), 5),
        (Rate(1, 3600.0), Rate(50, 1.0), 1),
    ],
    ids=str,
)
def test_as_many_share_a_request_as_may_leave_in_a_second_or_between_two_requests(
    links: Rate, requests: Rate, most: int
) -> None:
    assert limiter(links, requests).most_links == most


def test_without_a_rate_of_their_own_any_number_shares_a_request() -> None:
    assert limiter(None).most_links == sys.maxsize


def test_a_rate_of_links_can_come_change_and_go(virtual_time: Run) -> None:
    async def work() -> list[int]:
        limits = limiter(None, Rate(100, 1.0))
        loop = asyncio.get_running_loop()
        for at, rate in ((10.0, Rate(1, 60.0)), (20.0, Rate(10, 1.0)), (30.0, None)):
            loop.call_later(at, limits.change, Rate(100, 1.0), rate)
        begin = now()
        left = await leave(limits, [1], 40.0)
        return [sum(part * 10 <= at - begin < part * 10 + 10 for at, _ in left) for part in range(4)]

    free, slow, faster, again = virtual_time(work())
    assert free == pytest.approx(989, abs=2)
    assert slow == 1
    assert 88 <= faster <= 100
    assert 880 <= again <= 990


def test_more_links_than_a_window_holds_leave_alone_and_are_paid_for_later() -> None:
    """As when the rate was lowered after they were put together."""
    turns = LinkTurns(Rate(10, 1.0))
    assert turns.wait(30, 100.0) == 0.0
    turns.take(30, 100.0)
    assert turns.wait(1, 100.0) == pytest.approx(3.036, abs=0.01)


def test_what_left_long_ago_is_not_remembered() -> None:
    turns = LinkTurns(Rate(1_000_000, 3600.0))
    at = 0.0
    for _ in range(20_000):
        at += turns.wait(1, at) + 1.0
        turns.take(1, at)
    assert len(turns._left) <= 1_001
