"""Outcomes on their way to whoever iterates."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from worker.api.channel import Channel
from worker.api.outcome import Outcome
from worker.models import Status

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Ids = tuple[int, int]


def outcome(number: int) -> Outcome[Ids]:
    return Outcome((number, number), number, number, Status.LINKED)


def test_they_come_in_order_and_each_once_however_many_wait_for_one(virtual_time: Run) -> None:
    async def story() -> None:
        channel: Channel[Ids] = Channel()
        takers = [asyncio.create_task(channel.get()) for _ in range(4)]
        await asyncio.sleep(1)
        for number in (1, 2, 3):
            channel.put(outcome(number))
        await asyncio.sleep(1)
        channel.end()

        assert await asyncio.gather(*takers) == [outcome(1), outcome(2), outcome(3), None]

    virtual_time(story())


def test_what_is_left_at_the_end_can_still_be_taken(virtual_time: Run) -> None:
    async def story() -> None:
        channel: Channel[Ids] = Channel()
        channel.put(outcome(1))
        channel.end()

        assert channel.waiting == (outcome(1),)
        assert [await channel.get(), await channel.get(), await channel.get()] == [outcome(1), None, None]
        assert len(channel) == 0

    virtual_time(story())


def test_each_that_is_taken_is_told_of_and_counted_once(virtual_time: Run) -> None:
    async def story() -> None:
        channel: Channel[Ids] = Channel()
        told: list[int] = []
        channel.taken = lambda: told.append(len(channel))
        channel.put(outcome(1))
        channel.put(outcome(2))
        await channel.get()
        await channel.get()

        assert told == [1, 0]
        assert channel.states == {Status.LINKED: 2}

    virtual_time(story())
