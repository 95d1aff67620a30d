"""What only somebody with a broker of his own can try: its alarms, its users, and its death."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from tests.brokers import RabbitMQServer, running
from tests.integration.queues.rabbitmq.common import (
    FAILURE,
    all_that_waits,
    identities,
    impatient,
    published,
    received,
    until_it_works,
)
from worker.errors import QueueError, QueueUnavailable
from worker.queues import (
    Publisher,
    Queue,
    QueueAddress,
    open_dead_letters,
    open_publisher,
    open_queue,
    parse_address,
)


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitMQServer]:
    with running(RabbitMQServer) as server:
        yield server


@pytest.fixture
def server_url(server: RabbitMQServer) -> str:
    return server.url


async def test_a_message_without_a_name_gets_one_that_its_delayed_copies_keep(
    server: RabbitMQServer, queue: Queue
) -> None:
    for _ in range(2):
        await publish_without_a_name(server, queue, "raw")

    first, second = await received(queue, 2)
    await queue.release(first.handle, 0.1)
    (again,) = await received(queue, 1)

    assert len({first.identity, second.identity, ""}) == 3
    assert (again.identity, again.body, again.deliveries) == (first.identity, b"raw", 2)


async def test_a_message_without_a_name_is_called_the_same_when_it_comes_back(
    server: RabbitMQServer, queue: Queue
) -> None:
    """Else it would be a second message about a pair that is being sent, and be done with at once."""
    for body in ("one", "two", "one"):
        await publish_without_a_name(server, queue, body)
    held = await received(queue, 3)
    await asyncio.to_thread(server.control, "close_all_connections", "for a test")

    back = await until_it_works(lambda: received(queue, 3))
    assert [message.deliveries for message in back] == [2, 2, 2]
    assert sorted((m.body, m.identity) for m in back) == sorted((m.body, m.identity) for m in held)

    await queue.release(back[0].handle, 0.0)
    (once_more,) = await received(queue, 1)
    assert once_more.identity == back[0].identity

    # Another one is not taken for one of these, whatever it says.
    await queue.ack([once_more.handle, *(message.handle for message in back[1:])])
    await publish_without_a_name(server, queue, "one")
    (other,) = await received(queue, 1)
    assert other.identity not in {message.identity for message in held}


async def publish_without_a_name(server: RabbitMQServer, queue: Queue, body: str) -> None:
    """The broker itself publishes: the library of this test would make up a name."""
    exchange = 'rabbit_misc:r(<<"/">>, exchange, <<>>)'
    publish = f'rabbit_basic:publish({exchange}, <<"{queue.name}">>, [], <<"{body}">>).'
    await asyncio.to_thread(server.control, "eval", publish)


async def test_a_user_who_may_only_publish_is_not_asked_for_more(
    server: RabbitMQServer, address: QueueAddress
) -> None:
    publisher = open_publisher(address)
    await publisher.open()
    await publisher.close()
    server.control("add_user", "writer", "secret")
    server.control("set_permissions", "writer", "^$", ".*", "^$")
    writer = open_publisher(
        parse_address(f"{address.server.replace('guest:guest', 'writer:secret')}?queue={address.name}")
    )
    await writer.open()
    await writer.publish([("a", b"1")])
    await writer.close()


async def test_a_user_without_rights_is_refused(server: RabbitMQServer, address: QueueAddress) -> None:
    await asyncio.to_thread(server.control, "add_user", "poor", "secret")
    await asyncio.to_thread(server.control, "set_permissions", "poor", "^$", "^$", ".*")
    publisher = open_publisher(
        parse_address(f"amqp://poor:secret@127.0.0.1:{server.port}/?queue={address.name}")
    )
    with pytest.raises(QueueError, match="ACCESS_REFUSED") as error:
        await publisher.open()
    assert type(error.value) is QueueError
    assert "secret" not in str(error.value)
    await publisher.close()


async def test_a_connection_that_the_broker_ends_is_opened_again_and_old_handles_mean_nothing(
    server: RabbitMQServer, publisher: Publisher, queue: Queue
) -> None:
    (before,) = await published(publisher, queue, ["a"])
    waiting = asyncio.create_task(queue.receive(1, 30.0))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.control, "close_all_connections", "for a test")

    with pytest.raises(QueueUnavailable):
        await asyncio.wait_for(waiting, 5.0)
    (after,) = await until_it_works(lambda: queue.receive(1, 5.0))
    assert (after.identity, after.deliveries) == ("a", 2)
    await queue.ack([before.handle])
    await queue.release(before.handle, 0.0)
    await queue.release(before.handle, 0.1)
    await queue.dead(before.handle, FAILURE)
    assert not await queue.is_drained()
    await queue.release(after.handle, 0.0)
    (once_more,) = await queue.receive(5, 5.0)
    assert once_more.deliveries == 3
    await until_it_works(lambda: publisher.publish([("b", b"2")]))


async def test_an_alarm_stops_publishing_but_not_acknowledging(
    server: RabbitMQServer,
    publisher: Publisher,
    queue: Queue,
    address: QueueAddress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages = await published(publisher, queue, ["a", "b"])
    await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.000001")
    try:
        await asyncio.sleep(1.0)
        with impatient(monkeypatch, 1.0):
            with pytest.raises(QueueUnavailable):
                await publisher.publish([("c", b"3")])
            with pytest.raises(QueueUnavailable):
                await queue.dead(messages[0].handle, FAILURE)
        await queue.ack([messages[1].handle])
        assert await queue.receive(1, 0.3) == []
    finally:
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")
    await until_it_works(lambda: queue.dead(messages[0].handle, FAILURE))
    await until_it_works(lambda: publisher.publish([("d", b"4")]))

    # What timed out was read once the alarm was over, so it may be there, but what we held stayed ours.
    found = identities(await all_that_waits(queue, 0.5))
    assert "d" in found
    assert set(found) <= {"c", "d"}
    letters = open_dead_letters(address)
    await letters.open()
    assert {letter.identity for letter in await letters.letters(5)} == {"a"}
    await letters.close()


async def test_what_was_confirmed_outlives_a_broker_that_is_killed(
    server: RabbitMQServer, address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    publisher, queue = open_publisher(address), open_queue(address, lease=30.0)
    await publisher.open()
    await queue.open()
    confirmed, done, some_are_confirmed = set[str](), set[str](), asyncio.Event()
    held = await published(publisher, queue, ["held", "acked", "delayed", "dead"])
    await queue.ack([held[1].handle])
    await queue.release(held[2].handle, 5.0)
    await queue.dead(held[3].handle, FAILURE)

    async def publish() -> None:
        for n in range(40):
            batch = [(f"{n}.{m}", b"") for m in range(25)]
            await until_it_works(partial(publisher.publish, batch))
            confirmed.update(identity for identity, _ in batch)
            if n == 8:
                some_are_confirmed.set()

    publishing = asyncio.create_task(publish())
    await some_are_confirmed.wait()
    await asyncio.to_thread(server.kill)
    with pytest.raises(QueueUnavailable):
        await queue.receive(1, 1.0)
    with pytest.raises(QueueUnavailable):
        await queue.is_drained()
    await queue.ack([held[0].handle])  # lost with the connection, so ignored
    await asyncio.to_thread(server.start)

    async with asyncio.timeout(60):
        while not publishing.done() or not done >= {"held", "delayed", *confirmed}:
            messages = await until_it_works(lambda: queue.receive(100, 1.0))
            done.update(identities(messages))
            await until_it_works(partial(queue.ack, [message.handle for message in messages]))
    await publishing

    assert len(confirmed) == 1_000
    letters = open_dead_letters(address)
    await letters.open()
    assert [letter.identity for letter in await letters.letters(5)] == ["dead"]
    await letters.close()
    assert await queue.is_drained()
    await queue.close()
    await publisher.close()


async def test_closing_leaves_nothing_behind_whatever_goes_on(
    server: RabbitMQServer, publisher: Publisher, address: QueueAddress
) -> None:
    await publisher.publish([("a", b"1")])
    queue = open_queue(address, lease=30.0)
    await queue.open()
    (message,) = await queue.receive(1, 5.0)
    await queue.release(message.handle, 0.1)
    waiting = asyncio.create_task(queue.receive(5, 30.0))
    await asyncio.sleep(0.5)
    await waiting
    waiting = asyncio.create_task(queue.receive(5, 30.0))
    await asyncio.sleep(0.1)
    await queue.close()
    await queue.close()
    with pytest.raises(QueueUnavailable):
        await asyncio.wait_for(waiting, 5.0)
    with pytest.raises(QueueUnavailable):
        await queue.receive(1, 0.1)

    names = await asyncio.to_thread(server.control, "list_connections", "--silent", "client_properties")
    assert "bulklink work" not in names
    assert "bulklink copies" not in names
    async with open_queue(address, lease=30.0) as other:
        (message,) = await other.receive(5, 5.0)
        assert message.deliveries == 3
