"""When a queue counts as done: its limit, its drain, and what a drain has to wait for."""

import asyncio

import pytest

from tests.memory_queue import MemoryQueue
from tests.unit.supply.queue_desk import LATER, NO, OK, Run, desk_of, planned
from worker.models import Status


@pytest.mark.parametrize("limit", [1, 7, 16, 40])
def test_the_limit_counts_messages_and_the_rest_stays_on_the_queue(virtual_time: Run, limit: int) -> None:
    async def story() -> None:
        async with desk_of(planned(limit=limit, drain=False)) as desk:
            desk.put_pairs(1, 1)
            desk.put_pairs(1, 50)
            desk.put(("poison", b"{"))
            await desk.work()
            assert desk.states().total() == limit
            assert len(desk.broker._waiting) == 52 - limit - (limit > 1)
            assert desk.broker._held == {}

    virtual_time(story())


def test_without_a_drain_it_waits_for_more(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(drain=False)) as desk:
            working = asyncio.create_task(desk.work())
            for minute in range(1, 4):
                await asyncio.sleep(60.0)
                assert not working.done()
                desk.put_pairs(minute, minute)
            await asyncio.sleep(60.0)
            assert desk.states() == {Status.LINKED: 3}
            assert desk.broker.is_drained
            working.cancel()
            await asyncio.wait({working})

    virtual_time(story())


def test_a_drain_waits_for_what_is_open_or_delayed(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            desk.seconds = 100.0
            answers = iter([LATER, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 1)
            began = asyncio.get_running_loop().time()
            await desk.work()
            assert asyncio.get_running_loop().time() - began >= 230.0
            assert desk.states() == {Status.LINKED: 1}

    virtual_time(story())


def test_a_drain_waits_for_what_another_worker_holds_and_takes_it_over_if_that_one_dies(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of() as desk:
            other = MemoryQueue(desk.broker, lease=30.0)
            await other.open()
            desk.put_pairs(1, 3)
            held = await other.receive(2, 1.0)
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(60.0)
            assert not working.done()
            await other.ack([held[0].handle])
            await asyncio.sleep(60.0)
            assert not working.done()
            other.die()
            await working
            assert sorted(pair.contact_id for pair in desk.sent) == [2, 3]
            assert desk.broker.is_drained

    virtual_time(story())


def test_a_drain_waits_until_the_broker_has_heard_of_every_outcome(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(results=True) as desk:
            desk.other.is_up = False
            desk.put_pairs(1, 3)
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(60.0)
            assert not working.done()
            assert desk.states() == {Status.LINKED: 3}
            assert desk.queue.said == []
            desk.other.is_up = True
            await working
            assert desk.broker.is_drained

    virtual_time(story())


def test_where_others_cannot_be_seen_the_queue_must_look_empty_for_a_while(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(idle=10.0)) as desk:
            working = asyncio.create_task(desk.work())
            for number in range(1, 4):
                await asyncio.sleep(8.0)
                assert not working.done()
                desk.put_pairs(number, number)
            began = asyncio.get_running_loop().time()
            await working
            assert 10.0 <= asyncio.get_running_loop().time() - began <= 13.0
            assert desk.states() == {Status.LINKED: 3}

    virtual_time(story())


def test_where_holders_cannot_be_seen_a_drain_still_waits_for_what_we_hold_ourselves(
    virtual_time: Run,
) -> None:
    async def story() -> None:
        async with desk_of(planned(idle=10.0)) as desk:
            desk.queue.sees_no_holders = True
            desk.seconds = 100.0
            answers = iter([LATER, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 1)
            await desk.work()
            assert desk.states() == {Status.LINKED: 1}
            assert desk.broker.is_drained

    virtual_time(story())


def test_where_holders_cannot_be_seen_a_drain_still_waits_for_what_is_not_settled(virtual_time: Run) -> None:
    async def story() -> None:
        async with desk_of(planned(idle=10.0), results=True) as desk:
            desk.queue.sees_no_holders = True
            desk.other.is_up = False
            answers = iter([NO, OK])
            desk.portal = lambda _: next(answers)
            desk.put_pairs(1, 2)
            working = asyncio.create_task(desk.work())
            await asyncio.sleep(120.0)
            assert not working.done()
            desk.other.is_up = True
            await working
            assert len(desk.dead()) == 1
            assert desk.broker.is_drained

    virtual_time(story())
