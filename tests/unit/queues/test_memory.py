"""The queue in memory lives in the time of its loop; what all queues promise is tested by their contract."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.memory_queue import MemoryBroker, MemoryDeadLetters, MemoryPublisher, MemoryQueue
from worker.errors import QueueUnavailable

Run = Callable[[Coroutine[Any, Any, None]], None]


async def opened(broker: MemoryBroker, *identities: str) -> MemoryQueue:
    publisher = MemoryPublisher(broker)
    await publisher.open()
    await publisher.publish([(identity, b"") for identity in identities])
    queue = MemoryQueue(broker, lease=30.0)
    await queue.open()
    return queue


def test_an_hour_of_delay_takes_no_time(virtual_time: Run) -> None:
    async def scenario() -> None:
        queue = await opened(MemoryBroker(), "x")
        (message,) = await queue.receive(1, 0.0)
        began = asyncio.get_running_loop().time()
        await queue.release(message.handle, 3_600.0)
        assert await queue.receive(1, 3_599.0) == []
        (again,) = await queue.receive(1, 3_600.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(3_600.0)
        assert again.deliveries == 2

    virtual_time(scenario())


def test_what_a_dead_worker_held_comes_back_after_its_lease_and_not_before(virtual_time: Run) -> None:
    async def scenario() -> None:
        broker = MemoryBroker()
        dead, other = await opened(broker, "x"), await opened(broker)
        (stale,) = await dead.receive(1, 0.0)
        assert await other.receive(1, 1_000.0) == []
        dead.die()
        assert await other.receive(1, 29.0) == []
        (again,) = await other.receive(1, 2.0)
        await dead.open()
        await dead.ack([stale.handle])
        assert not await other.is_drained()
        await other.ack([again.handle])
        assert await other.is_drained()

    virtual_time(scenario())


def test_a_broker_that_is_down_refuses_every_call_and_loses_nothing(virtual_time: Run) -> None:
    async def scenario() -> None:
        broker = MemoryBroker()
        queue = await opened(broker, "x", "y")
        (message,) = await queue.receive(1, 0.0)
        broker.is_up = False
        for call in (
            queue.open(),
            queue.receive(1, 1.0),
            queue.ack([message.handle]),
            queue.release(message.handle, 0.0),
            queue.is_drained(),
            MemoryPublisher(broker).publish([("z", b"")]),
            MemoryDeadLetters(broker).letters(1),
            MemoryDeadLetters(broker).requeue(1),
        ):
            with pytest.raises(QueueUnavailable):
                await call
        broker.is_up = True
        assert [other.identity for other in await queue.receive(5, 0.0)] == ["y"]
        await queue.ack([message.handle])

    virtual_time(scenario())
