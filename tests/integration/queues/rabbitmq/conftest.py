"""A queue on RabbitMQ, for each test; whoever wants a broker of its own gives another ``server_url``."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.integration.queues.rabbitmq.common import address_at
from worker.queues import Publisher, Queue, QueueAddress, open_publisher, open_queue


@pytest.fixture
def server_url(rabbitmq_url: str) -> str:
    return rabbitmq_url


@pytest.fixture
def address(server_url: str) -> QueueAddress:
    return address_at(server_url)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the broker is killed must a new queue be on its disk before it is used."""
    monkeypatch.setattr("worker.queues.rabbitmq.publisher._TO_DISK_SECONDS", 0.0)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No task outlives a test, and the loop hears no complaint."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.fixture
async def publisher(address: QueueAddress) -> AsyncIterator[Publisher]:
    publisher = open_publisher(address)
    await publisher.open()
    yield publisher
    await publisher.close()


@pytest.fixture
async def queue(publisher: Publisher, address: QueueAddress) -> AsyncIterator[Queue]:
    await publisher.open()  # a second time, which changes nothing
    async with open_queue(address, lease=30.0) as queue:
        yield queue


@pytest.fixture
async def channel(address: QueueAddress) -> AsyncIterator[AbstractChannel]:
    """Somebody who knows nothing of us."""
    connection = await aio_pika.connect(address.server)
    yield await connection.channel()
    await connection.close()
