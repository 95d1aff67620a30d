"""What tests of RabbitMQ share: queues of their own, and waiting for messages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4

import pytest

from worker.errors import QueueUnavailable
from worker.queues import Failure, Message, Publisher, Queue, QueueAddress, parse_address

_T = TypeVar("_T")

FAILURE = Failure("the portal says no", "rejected", 404, 3)


def address_at(server_url: str) -> QueueAddress:
    """Of a queue that nobody else has."""
    return parse_address(f"{server_url}?queue=links.{uuid4().hex[:8]}")


async def until_it_works(call: Callable[[], Awaitable[_T]]) -> _T:
    """As a worker does it: again, for as long as the broker is only unavailable."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except QueueUnavailable:
                await asyncio.sleep(0.1)


async def all_that_waits(queue: Queue, wait: float = 1.0) -> list[Message]:
    found: list[Message] = []
    while messages := await queue.receive(100, wait):
        found += messages
    return found


def identities(messages: list[Message]) -> list[str]:
    return [message.identity for message in messages]


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """Calls that must stay without an answer need not be waited for long; all others may take their time."""
    with monkeypatch.context() as patch:
        patch.setattr("worker.queues.rabbitmq.connection.CALL_SECONDS", seconds)
        yield


async def received(queue: Queue, count: int) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await queue.receive(count - len(found), 5.0)
    return found


async def published(publisher: Publisher, queue: Queue, names: list[str]) -> list[Message]:
    """Messages that are published, and received."""
    await publisher.publish([(name, name.encode()) for name in names])
    return await received(queue, len(names))
