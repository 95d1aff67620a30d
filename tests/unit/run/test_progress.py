"""Counts are shown while the work goes on, with what is in flight and how long the portal makes wait."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from worker.limits import Limiter
from worker.limits.limiter import USER
from worker.models import Kind, Request, Result
from worker.quantities import Rate
from worker.run.progress import show_often
from worker.tally import LinkTally

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_what_is_in_flight_and_a_pause_are_shown_with_the_counts(virtual_time: Run) -> None:
    shown: list[tuple[int, int, float]] = []
    tally = LinkTally(total=3)

    async def work() -> None:
        limiter = Limiter(Rate(1000, 1.0), 4, max_pause=60.0, rng=Random(1))  # noqa: S311 - jitter
        task = asyncio.create_task(
            show_often(tally, lambda one: shown.append((one.in_flight, one.limit, one.pause_left)), limiter)
        )
        async with limiter.slot():
            await asyncio.sleep(0.3)
        limiter.observe(Request(Kind.LINK, Result.THROTTLED, retry_after=8.0))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait({task})

    virtual_time(work())

    assert shown[0] == (1, 4, 0.0)
    assert shown[1][:2] == (0, 4)
    assert 7.0 < shown[1][2] < 8.2
    assert tally.ended


def test_that_the_user_holds_everyone_back_is_shown(virtual_time: Run) -> None:
    tally = LinkTally()

    async def work() -> None:
        limiter = Limiter(Rate(1000, 1.0), 4, max_pause=60.0, rng=Random(1))  # noqa: S311 - jitter
        task = asyncio.create_task(show_often(tally, lambda _: None, limiter))
        limiter.hold(USER)
        await asyncio.sleep(0.3)
        assert tally.held
        limiter.let_go(USER)
        await asyncio.sleep(0.3)
        assert not tally.held
        task.cancel()
        await asyncio.wait({task})

    virtual_time(work())


def test_of_two_parts_of_a_work_only_the_end_of_each_is_an_end(virtual_time: Run) -> None:
    """A sync reads, then removes: a line that is told to be the last one is not drawn over."""
    ends: list[bool] = []
    tally = LinkTally()

    async def work() -> None:
        limiter = Limiter(Rate(1000, 1.0), 4, max_pause=60.0, rng=Random(1))  # noqa: S311 - jitter
        for _ in range(2):
            task = asyncio.create_task(show_often(tally, lambda one: ends.append(one.ended), limiter))
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.wait({task})

    virtual_time(work())

    assert ends == [False, False, True] * 2
