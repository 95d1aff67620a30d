"""A laboratory per broker: opens workers, publishers and dead letters on a queue that no other test uses."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.brokers import free_port
from tests.memory_queue import MemoryBroker, MemoryDeadLetters, MemoryPublisher, MemoryQueue
from worker.queues import (
    DeadLetters,
    Publisher,
    Queue,
    open_dead_letters,
    open_publisher,
    open_queue,
    parse_address,
)

LEASE = 1.0

# A worker that takes a few messages, says which, and never gets any further.
_DOOMED = """
import asyncio, json, sys
from worker.queues import open_queue, parse_address

async def work(url, most):
    async with open_queue(parse_address(url), lease=float(sys.argv[3])) as queue:
        messages = []
        while len(messages) < most:
            messages += await queue.receive(most - len(messages), 10.0)
        print(json.dumps([message.identity for message in messages]), flush=True)
        await asyncio.sleep(600)

asyncio.run(work(sys.argv[1], int(sys.argv[2])))
"""


class _Openable(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


_T = TypeVar("_T", bound=_Openable)


class Lab:
    """What a test of the protocol needs from a broker; all that it opens is closed at the end.

    Attributes:
        name: of the queue.
        secret: a password that nothing may show; None if the broker asks for none.
        knows_what_others_hold: whether ``is_drained`` counts what other workers hold.
    """

    name: str
    secret: str | None = None
    knows_what_others_hold = True

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def new_queue(self, *, lease: float = LEASE) -> Queue:
        """A worker's queue that is not open yet."""
        raise NotImplementedError

    def new_publisher(self) -> Publisher:
        raise NotImplementedError

    def new_dead_letters(self) -> DeadLetters:
        raise NotImplementedError

    def nowhere(self) -> tuple[Queue, Publisher, DeadLetters]:
        """The same, where no broker answers."""
        raise NotImplementedError

    async def die_with(self, most: int, *, after: float = 0.0) -> list[str]:
        """A worker takes that many messages and is killed some seconds later; gives their identities."""
        raise NotImplementedError

    async def queue(self, *, lease: float = LEASE) -> Queue:
        """One more worker's queue, open."""
        return await self._opened(self.new_queue(lease=lease))

    async def publisher(self) -> Publisher:
        return await self._opened(self.new_publisher())

    async def dead_letters(self) -> DeadLetters:
        return await self._opened(self.new_dead_letters())

    async def _opened(self, it: _T) -> _T:
        self._stack.push_async_callback(it.close)
        await it.open()
        return it


class MemoryLab(Lab):
    def __init__(self, stack: AsyncExitStack) -> None:
        super().__init__(stack)
        self.broker = MemoryBroker(f"contract-{uuid4().hex}")
        self.name = self.broker.name

    def new_queue(self, *, lease: float = LEASE) -> MemoryQueue:
        return MemoryQueue(self.broker, lease=lease)

    def new_publisher(self) -> Publisher:
        return MemoryPublisher(self.broker)

    def new_dead_letters(self) -> DeadLetters:
        return MemoryDeadLetters(self.broker)

    def nowhere(self) -> tuple[Queue, Publisher, DeadLetters]:
        down = MemoryBroker(self.name)
        down.is_up = False
        return MemoryQueue(down), MemoryPublisher(down), MemoryDeadLetters(down)

    async def die_with(self, most: int, *, after: float = 0.0) -> list[str]:
        queue = self.new_queue()
        await queue.open()
        messages = await queue.receive(most, 10.0)
        await asyncio.sleep(after)
        queue.die()
        return [message.identity for message in messages]


class BrokerLab(Lab):
    """At a real broker, with the clients that a user's URL chooses; its killed workers are processes."""

    def __init__(self, stack: AsyncExitStack, server: str, parameter: str) -> None:
        super().__init__(stack)
        self.name = f"contract-{uuid4().hex}"
        self.secret = urlsplit(server).password
        self.url = f"{server}?{parameter}={self.name}"
        self.address = parse_address(self.url)

    def new_queue(self, *, lease: float = LEASE) -> Queue:
        return open_queue(self.address, lease=lease)

    def new_publisher(self) -> Publisher:
        return open_publisher(self.address)

    def new_dead_letters(self) -> DeadLetters:
        return open_dead_letters(self.address)

    def nowhere(self) -> tuple[Queue, Publisher, DeadLetters]:
        port = urlsplit(self.url).port
        address = parse_address(self.url.replace(f":{port}", f":{free_port()}"))
        return open_queue(address, lease=LEASE), open_publisher(address), open_dead_letters(address)

    async def die_with(self, most: int, *, after: float = 0.0) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _DOOMED, self.url, str(most), str(LEASE)), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        await asyncio.sleep(after)
        process.kill()
        await process.communicate()
        identities: list[str] = json.loads(line)
        return identities


@pytest.fixture(params=["memory", "redis", "rabbitmq", "nats"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryLab(stack)
            return
        server = request.getfixturevalue(f"{request.param}_url")
        lab = BrokerLab(stack, server, "queue" if request.param == "rabbitmq" else "stream")
        # Over AMQP a broker does not tell what is unacknowledged elsewhere.
        lab.knows_what_others_hold = request.param != "rabbitmq"
        yield lab


@pytest.fixture(autouse=True)
def _no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ gets a second to write down a new queue, lest it be killed meanwhile; here nobody kills it."""
    monkeypatch.setattr("worker.queues.rabbitmq.publisher._TO_DISK_SECONDS", 0.0)
