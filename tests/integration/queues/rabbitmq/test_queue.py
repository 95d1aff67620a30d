"""What is RabbitMQ's own: queues of others, delays, and what is left when a worker goes away."""

import asyncio
import socket
import time
from contextlib import suppress
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.integration.queues.rabbitmq.common import (
    FAILURE,
    address_at,
    all_that_waits,
    identities,
    impatient,
    published,
    received,
    until_it_works,
)
from tests.proxy import Proxy
from worker.errors import QueueError, QueueMissing, QueueUnavailable
from worker.queues import (
    Message,
    Publisher,
    Queue,
    QueueAddress,
    open_dead_letters,
    open_publisher,
    open_queue,
    parse_address,
)
from worker.queues.rabbitmq.connection import Connection
from worker.queues.rabbitmq.topology import delay_queue


async def test_a_copy_keeps_what_its_publisher_wrote_but_not_where_else_it_was_to_go(
    queue: Queue, address: QueueAddress, channel: AbstractChannel
) -> None:
    elsewhere = await channel.declare_queue(f"{address.name}.elsewhere", exclusive=True)
    foreign = aio_pika.Message(
        b"{}",
        message_id="a",
        content_type="application/json",
        headers={"theirs": 1, "CC": [elsewhere.name]},
        user_id="guest",
        expiration=60,
    )
    await channel.default_exchange.publish(foreign, queue.name)
    (message,) = await received(queue, 1)
    await queue.release(message.handle, 0.1)
    (message,) = await received(queue, 1)
    await queue.dead(message.handle, FAILURE)

    dead = await (await channel.get_queue(address.dead_name)).get()
    assert (dead.message_id, dead.content_type, dead.expiration) == ("a", "application/json", None)
    assert dead.headers["theirs"] == 1
    assert dead.headers["deliveries"] == 2
    assert dead.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert await elsewhere.get(fail=False) is not None
    assert await elsewhere.get(fail=False) is None


async def test_a_classic_queue_of_the_user_is_used_as_it_is(
    address: QueueAddress, channel: AbstractChannel
) -> None:
    await channel.declare_queue(address.name, durable=False, arguments={"x-max-length": 50})
    publisher, letters = open_publisher(address), open_dead_letters(address)
    await publisher.open()
    await publisher.publish([("a", b"1"), ("b", b"2"), ("c", b"3")])
    async with open_queue(address, lease=30.0) as queue:
        a, b, c = await all_that_waits(queue, 0.5)
        assert [message.deliveries for message in (a, b, c)] == [1, 1, 1]
        await queue.release(a.handle, 0.0)
        await queue.release(b.handle, 0.1)
        await queue.dead(c.handle, FAILURE)
        back = [*await queue.receive(2, 5.0), *await queue.receive(2, 5.0)]
        assert [(message.identity, message.deliveries) for message in back] == [("a", 2), ("b", 2)]
        await queue.ack([message.handle for message in back])
        assert await queue.is_drained()
    await letters.open()
    assert [letter.identity for letter in await letters.letters(5)] == ["c"]
    await letters.close()
    await publisher.close()


@pytest.mark.parametrize("arguments", [{}, {"x-max-length-bytes": 1_000_000, "x-max-age": "1h"}])
async def test_a_queue_of_type_stream_is_refused_by_workers_and_by_who_publishes_for_them(
    address: QueueAddress, channel: AbstractChannel, arguments: dict[str, Any]
) -> None:
    await channel.declare_queue(address.name, durable=True, arguments={"x-queue-type": "stream", **arguments})
    for openable in (open_queue(address, lease=30.0), open_publisher(address)):
        with pytest.raises(
            QueueError, match=f"{address.name} is a stream, .* a quorum queue is needed"
        ) as error:
            await openable.open()
        assert not isinstance(error.value, QueueUnavailable)
    results = open_publisher(address, for_work=False)
    await results.open()
    await results.publish([("a", b"1")])
    await results.close()


@pytest.mark.parametrize("arguments", [{}, {"x-queue-type": "quorum"}, {"x-max-priority": 5}])
async def test_to_ask_for_the_type_of_a_queue_takes_nothing_from_it(
    address: QueueAddress, channel: AbstractChannel, arguments: dict[str, Any]
) -> None:
    await channel.declare_queue(address.name, durable=True, arguments=arguments)
    await channel.default_exchange.publish(aio_pika.Message(b"x"), address.name)
    publisher = open_publisher(address)
    await publisher.open()
    await publisher.close()
    async with open_queue(address, lease=30.0) as queue, open_queue(address, lease=30.0):
        (message,) = await all_that_waits(queue)
        assert message.deliveries == 1


async def test_a_worker_makes_the_dead_letters_of_a_queue_that_has_none(
    address: QueueAddress, channel: AbstractChannel
) -> None:
    await channel.declare_queue(address.name, durable=True)
    await channel.default_exchange.publish(aio_pika.Message(b"1", message_id="a"), address.name)
    letters = open_dead_letters(address)
    await letters.open()
    assert await letters.letters(5) == []
    assert await letters.requeue(5) == 0

    async with open_queue(address, lease=30.0) as queue:
        (message,) = await queue.receive(1, 5.0)
        await queue.dead(message.handle, FAILURE)

    (letter,) = await letters.letters(5)
    assert (letter.identity, letter.body, letter.failure) == ("a", b"1", FAILURE)
    assert abs(letter.dead_at - time.time()) < 5.0
    await letters.close()


async def test_a_message_over_the_delivery_limit_of_the_broker_is_a_dead_letter(
    address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queues.rabbitmq.topology._DELIVERY_LIMIT", 2)
    publisher, letters = open_publisher(address), open_dead_letters(address)
    await publisher.open()
    await publisher.publish([("poison", b"1")])
    async with open_queue(address, lease=30.0) as queue:
        for deliveries in (1, 2, 3):
            (message,) = await queue.receive(1, 5.0)
            assert message.deliveries == deliveries
            await queue.release(message.handle, 0.0)
        assert await queue.receive(1, 0.5) == []
    await letters.open()

    (letter,) = await letters.letters(5)
    assert (letter.identity, letter.body, letter.failure.reason) == ("poison", b"1", "delivered too often")
    assert abs(letter.dead_at - time.time()) < 10.0

    # As a new message: the broker counts from the beginning, does not take it for one that goes in circles,
    # and lets it die a second time.
    assert await letters.requeue(5) == 1
    assert await letters.letters(5) == []
    async with open_queue(address, lease=30.0) as queue:
        for deliveries in (1, 2, 3, 4):
            (message,) = await queue.receive(1, 5.0)
            assert (message.identity, message.deliveries) == ("poison", deliveries)
            await queue.release(message.handle, 0.1 if deliveries == 1 else 0.0)
        assert await queue.receive(1, 0.5) == []
    assert len(await letters.letters(5)) == 1
    await letters.close()
    await publisher.close()


async def test_a_message_may_be_delayed_again_and_again(publisher: Publisher, queue: Queue) -> None:
    await publisher.publish([("a", b"1")])
    for deliveries in range(1, 6):
        (message,) = await queue.receive(1, 5.0)
        assert (message.identity, message.deliveries) == ("a", deliveries)
        await queue.release(message.handle, 0.1)
        assert not await queue.is_drained()


async def test_a_delay_lasts_at_least_as_long_as_asked_and_holds_up_no_shorter_one(
    publisher: Publisher, queue: Queue
) -> None:
    await publisher.publish([("long", b"1"), ("short", b"2")])
    long, short = await queue.receive(2, 5.0)
    start = time.monotonic()
    await queue.release(long.handle, 3.0)
    await queue.release(short.handle, 0.3)

    (first,) = await queue.receive(1, 5.0)
    assert (first.identity, time.monotonic() - start >= 0.3) == ("short", True)
    assert time.monotonic() - start < 3.0
    (second,) = await queue.receive(1, 5.0)
    assert (second.identity, time.monotonic() - start >= 3.0) == ("long", True)


def test_each_delay_is_rounded_up_to_one_of_a_few(address: QueueAddress) -> None:
    asked = (0.01, 0.1, 0.11, 7, 3_600, 3_601, 90_000)
    names = [delay_queue(address, delay).name.rpartition(".")[2] for delay in asked]

    assert names == ["100", "100", "200", "10000", "3600000", "7200000", "90000000"]


async def test_a_message_that_another_worker_delayed_keeps_the_queue_from_being_drained(
    publisher: Publisher, queue: Queue, address: QueueAddress
) -> None:
    await publisher.publish([("a", b"1")])
    async with open_queue(address, lease=30.0) as other:
        (message,) = await other.receive(1, 5.0)
        await other.release(message.handle, 3.0)

    assert not await queue.is_drained()
    (message,) = await queue.receive(1, 10.0)
    assert message.deliveries == 2


async def test_a_delayed_message_is_not_lost_with_its_delay_queue(
    publisher: Publisher, queue: Queue, address: QueueAddress, channel: AbstractChannel
) -> None:
    await publisher.publish([("a", b"1"), ("b", b"2")])
    first, second = await queue.receive(2, 5.0)
    await queue.release(first.handle, 0.1)
    (again,) = await queue.receive(1, 5.0)
    await channel.queue_delete(f"{address.name}.delay.100")

    await queue.release(second.handle, 0.1)

    assert identities(await queue.receive(1, 5.0)) == ["b"]
    assert again.identity == "a"


async def test_no_worker_holds_what_it_did_not_ask_for(
    publisher: Publisher, queue: Queue, address: QueueAddress
) -> None:
    await publisher.publish([(str(n), b"") for n in range(10)])
    mine = await queue.receive(3, 5.0)
    await queue.ack([message.handle for message in mine])

    async with open_queue(address, lease=30.0) as other:
        theirs = await all_that_waits(other, 0.5)

    assert identities(mine) + identities(theirs) == [str(n) for n in range(10)]
    assert {message.deliveries for message in theirs} == {1}


async def test_receiving_may_be_cancelled_at_any_moment(publisher: Publisher, queue: Queue) -> None:
    (held,) = await published(publisher, queue, ["held"])
    await publisher.publish([(str(n), b"") for n in range(30)])
    found: list[Message] = []
    for step in range(30):
        task = asyncio.create_task(queue.receive(2, 0.3))
        await asyncio.sleep(step / 5_000)
        task.cancel()
        with suppress(asyncio.CancelledError):
            found += await task
        if step % 3 == 0:
            found += await queue.receive(1, 0.3)
    found += await all_that_waits(queue, 0.5)

    assert sorted(identities(found), key=int) == [str(n) for n in range(30)]
    assert {message.deliveries for message in found} == {1}
    await queue.ack([held.handle, *(message.handle for message in found)])
    assert await queue.is_drained()


async def test_a_worker_that_no_longer_waits_takes_nothing(
    publisher: Publisher, queue: Queue, address: QueueAddress
) -> None:
    waiting = asyncio.create_task(queue.receive(5, 30.0))
    await asyncio.sleep(0.3)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.3)
    await publisher.publish([("a", b"1")])

    async with open_queue(address, lease=30.0) as other:
        assert identities(await other.receive(1, 5.0)) == ["a"]


async def test_an_acknowledgement_that_is_cancelled_costs_no_other_message(
    publisher: Publisher, queue: Queue
) -> None:
    messages = await published(publisher, queue, ["a", "b"])
    for message in messages:
        task = asyncio.create_task(queue.ack([message.handle]))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.2)

    assert await queue.receive(2, 0.5) == []
    assert await queue.is_drained()


async def test_a_queue_that_is_not_there_is_named(address: QueueAddress) -> None:
    queue = open_queue(address, lease=30.0)
    with pytest.raises(QueueError, match=address.name) as error:
        await queue.open()
    assert type(error.value) is QueueMissing
    await queue.close()


async def test_a_wrong_password_is_refused_and_not_shown(server_url: str) -> None:
    address = address_at(server_url.replace("guest:guest", "guest:hunter2"))
    for end in (open_queue(address, lease=30.0), open_publisher(address), open_dead_letters(address)):
        with pytest.raises(QueueError, match="ACCESS_REFUSED") as error:
            await end.open()
        assert type(error.value) is QueueError
        assert "hunter2" not in str(error.value)
        assert server_url.partition("@")[2].rstrip("/") in str(error.value)
        await end.close()


async def test_a_missing_virtual_host_is_refused(server_url: str) -> None:
    address = address_at(f"{server_url}nowhere")
    publisher = open_publisher(address)
    with pytest.raises(QueueError, match=r"nowhere.*virtual host") as error:
        await publisher.open()
    assert type(error.value) is QueueError
    await publisher.close()


async def test_nothing_listens_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        queue = open_queue(parse_address(f"amqp://me:hunter2@127.0.0.1:{port}/?queue=q"), lease=30.0)
        with pytest.raises(QueueUnavailable, match=f"127.0.0.1:{port}") as error:
            await queue.open()
    assert "hunter2" not in str(error.value)
    await queue.close()


async def test_a_queue_that_is_deleted_in_the_middle_is_an_error(
    publisher: Publisher, queue: Queue, channel: AbstractChannel
) -> None:
    await published(publisher, queue, ["a"])
    waiting = asyncio.create_task(queue.receive(1, 1.0))
    await asyncio.sleep(0.3)
    await channel.queue_delete(queue.name)
    await asyncio.gather(waiting, return_exceptions=True)

    with pytest.raises(QueueError, match=queue.name) as error:
        await queue.receive(1, 1.0)
    assert type(error.value) is QueueError
    with pytest.raises(QueueError, match=queue.name):
        await queue.is_drained()
    with pytest.raises(QueueError, match=queue.name):
        await publisher.publish([("b", b"2")])


async def test_what_a_silent_connection_held_keeps_the_queue_from_being_drained(
    publisher: Publisher, address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queues.rabbitmq.connection.HEARTBEAT_SECONDS", 3)
    await publisher.publish([("m1", b"a"), ("m2", b"b")])
    async with (
        Proxy(address.server) as proxy,
        open_queue(parse_via(proxy, address), lease=30.0) as queue,
        open_queue(address, lease=30.0) as other,
    ):
        held = await queue.receive(1, 10.0)
        (rest,) = await other.receive(10, 10.0)
        assert proxy.hush()
        with impatient(monkeypatch, 0.5), pytest.raises(QueueUnavailable, match="no answer"):
            await queue.ack([held[0].handle])
        # To the broker it looks as if a worker were still at it.
        await other.ack([rest.handle])
        assert await other.is_drained()
        assert not await queue.is_drained()
        again = await take_within(queue, 30.0)
        await queue.ack([message.handle for message in again])
        async with asyncio.timeout(30):
            while not await queue.is_drained():  # noqa: ASYNC110 - only the broker could tell
                await asyncio.sleep(0.1)
        assert [message.identity for message in again] == [held[0].identity]
        assert await other.is_drained()


@pytest.mark.parametrize("held", [0, 1])
async def test_of_many_that_are_acknowledged_just_before_it_closes_none_comes_again(
    server_url: str, held: int
) -> None:
    """A replicated queue works on 32 acknowledgements at a time, and may forget the rest with the channel.

    If it does is a matter of chance, about one time in ten.
    """
    for _ in range(3):
        address = address_at(server_url)
        publisher = open_publisher(address)
        await publisher.open()
        await publisher.publish([(f"m{number}", b"x") for number in range(1_000)])
        await publisher.close()
        async with open_queue(address, lease=30.0) as queue:
            taken: list[Message] = []
            while len(taken) < 1_000:
                taken += await queue.receive(1_000, 5.0)
            await queue.ack([message.handle for message in taken[held:]])
        async with open_queue(address, lease=30.0) as queue:
            assert [one.identity for one in await all_that_waits(queue, 0.3)] == ["m0"][:held]


async def test_an_acknowledgement_that_never_ends_holds_up_none_on_a_later_connection(
    publisher: Publisher, address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publisher.publish([("a", b"1")])
    stuck = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        stuck.set()
        await asyncio.Event().wait()

    async with Proxy(address.server) as proxy, open_queue(parse_via(proxy, address), lease=30.0) as queue:
        (held,) = await queue.receive(1, 10.0)
        with monkeypatch.context() as patch:
            patch.setattr("aiormq.channel.Channel.basic_ack", never)
            acknowledging = asyncio.create_task(queue.ack([held.handle]))
            await stuck.wait()
            acknowledging.cancel()
            await asyncio.gather(acknowledging, return_exceptions=True)
        assert proxy.cut()
        (again,) = await until_it_works(lambda: take_within(queue, 30.0))
        async with asyncio.timeout(10):
            await queue.ack([again.handle])
        assert await queue.is_drained()


async def test_a_call_ends_with_its_connection_and_harms_no_later_one(
    publisher: Publisher, address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library forgets some calls when the broker closes the connection; such a one must not wait."""
    del publisher  # it has made the queue
    monkeypatch.setattr("worker.queues.rabbitmq.connection.CALL_SECONDS", 5.0)
    forgotten = asyncio.Event()

    async def never(_: AbstractChannel) -> None:
        forgotten.set()
        await asyncio.Event().wait()

    async with Proxy(address.server) as proxy:
        connection = Connection(parse_via(proxy, address), "test")
        await connection.open()
        hanging = asyncio.create_task(connection.call(never))
        await forgotten.wait()
        began = time.monotonic()
        assert proxy.cut()
        with pytest.raises(QueueUnavailable):
            await hanging
        assert time.monotonic() - began < 4.0
        await connection.open()
        present = connection.generation
        await asyncio.sleep(5.5)  # past the time at which the old call would have been given up
        assert connection.is_up(present)
        await connection.close()


def parse_via(proxy: Proxy, address: QueueAddress) -> QueueAddress:
    return parse_address(f"{proxy.url}?queue={address.name}")


async def take_within(queue: Queue, seconds: float) -> list[Message]:
    async with asyncio.timeout(seconds):
        while True:
            if messages := await queue.receive(10, 1.0):
                return messages


async def test_a_queue_that_is_full_refuses_messages_for_now(
    address: QueueAddress, channel: AbstractChannel
) -> None:
    await channel.declare_queue(address.name, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    publisher = open_publisher(address)
    await publisher.open()

    with pytest.raises(QueueUnavailable, match="takes no message"):
        await publisher.publish([(str(n), b"") for n in range(10)])

    await (await channel.get_queue(address.name)).purge()
    await publisher.publish([("a", b"1")])
    await publisher.close()
