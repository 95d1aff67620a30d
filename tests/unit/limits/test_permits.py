"""Permits whose number changes while they are out."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from worker.limits.permits import Permits

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_they_go_to_who_came_first(virtual_time: Run) -> None:
    async def story() -> list[int]:
        permits = Permits(1)
        got: list[int] = []

        async def take(number: int) -> None:
            await permits.acquire()
            got.append(number)

        await permits.acquire()
        waiting = [asyncio.create_task(take(number)) for number in range(4)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        for _ in range(3):
            permits.release()
            await asyncio.sleep(0)
        return got

    assert virtual_time(story()) == [0, 2, 3]


def test_who_comes_does_not_pass_who_waits(virtual_time: Run) -> None:
    async def story() -> int:
        permits = Permits(1)
        await permits.acquire()
        waiting = asyncio.create_task(permits.acquire())
        await asyncio.sleep(0)
        permits.release()  # given to the one who waits, though it has not run yet
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(permits.acquire(), 1.0)
        await waiting
        return permits.in_use

    assert virtual_time(story()) == 1


def test_one_given_in_the_moment_of_a_cancellation_is_not_lost(virtual_time: Run) -> None:
    async def story() -> int:
        permits = Permits(1)
        await permits.acquire()
        waiting = asyncio.create_task(permits.acquire())
        await asyncio.sleep(0)
        permits.release()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return permits.in_use

    assert virtual_time(story()) == 0


@pytest.mark.parametrize(("before", "after", "at_once"), [(2, 5, 3), (2, 1, 0), (4, 4, 0)])
def test_a_change_of_their_number_is_felt_at_once_by_who_waits(
    virtual_time: Run, before: int, after: int, at_once: int
) -> None:
    async def story() -> int:
        permits = Permits(before)
        for _ in range(before):
            await permits.acquire()
        waiting = [asyncio.create_task(permits.acquire()) for _ in range(6)]
        await asyncio.sleep(0)
        permits.resize(after)
        await asyncio.sleep(0)
        served = sum(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        return served

    assert virtual_time(story()) == at_once


def test_below_a_lower_number_none_is_given_until_enough_came_back(virtual_time: Run) -> None:
    async def story() -> list[bool]:
        permits = Permits(3)
        for _ in range(3):
            await permits.acquire()
        permits.resize(1)
        waiting = asyncio.create_task(permits.acquire())
        told = []
        for _ in range(3):
            permits.release()
            await asyncio.sleep(0)
            told.append(waiting.done())
        return told

    assert virtual_time(story()) == [False, False, True]
