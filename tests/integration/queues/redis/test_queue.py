"""What is Redis' own: entries of others, lost groups, its deaths, its limits, and who may renew a lease."""

import asyncio
import gc
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.brokers import RedisServer, running
from worker.errors import QueueError, QueueUnavailable
from worker.queues import Failure, Message, QueueAddress, parse_address
from worker.queues.redis.dead_letters import RedisDeadLetters
from worker.queues.redis.publisher import RedisPublisher
from worker.queues.redis.queue import RedisQueue

_T = TypeVar("_T")

LEASE = 1.0
LONG = 60.0
FAILURE = Failure("the portal says no", "rejected", 404, 3)

# A worker that takes one message and goes on living.
_HOLDER = """
import asyncio, sys
from worker.queues import open_queue, parse_address

async def work():
    async with open_queue(parse_address(sys.argv[1]), lease=float(sys.argv[2])) as queue:
        while not await queue.receive(1, 10.0):
            pass
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(work())
"""


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No task outlives a test, and the loop hears no complaint."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


def address_at(server: str) -> QueueAddress:
    return parse_address(f"{server}?stream=links-{uuid4().hex}")


@pytest.fixture
def address(redis_url: str) -> QueueAddress:
    return address_at(redis_url)


@pytest.fixture
async def client(address: QueueAddress) -> AsyncIterator[Redis]:
    """Somebody who knows nothing of us."""
    async with Redis.from_url(address.server, protocol=2) as client:
        yield client


@pytest.fixture
async def publisher(address: QueueAddress) -> AsyncIterator[RedisPublisher]:
    publisher = RedisPublisher(address)
    await publisher.open()
    yield publisher
    await publisher.close()


@pytest.fixture
async def queue(
    publisher: RedisPublisher,  # noqa: ARG001 - it has made the stream
    address: QueueAddress,
) -> AsyncIterator[RedisQueue]:
    async with RedisQueue(address, LEASE) as queue:
        yield queue


async def take(queue: RedisQueue, count: int, within: float = 10.0) -> list[Message]:
    messages: list[Message] = []
    end = time.monotonic() + within
    while len(messages) < count and time.monotonic() < end:
        messages += await queue.receive(count - len(messages), 0.5)
    return messages


async def letters_of(address: QueueAddress) -> list[tuple[str, bytes]]:
    letters = RedisDeadLetters(address)
    await letters.open()
    try:
        return [(letter.identity, letter.body) for letter in await letters.letters(1_000)]
    finally:
        await letters.close()


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (
            {"opportunity_id": "12", "contact_id": "34"},
            {"opportunity_id": "12", "contact_id": "34"},
        ),
        ({"id": "7", "opportunity_id": "12"}, {"id": "7", "opportunity_id": "12"}),
        ({"data": '{"opportunity_id": 12}'}, {"opportunity_id": 12}),
        ({"message": ' {"opportunity_id": 12}', "trace": "t"}, {"opportunity_id": 12}),
        ({"payload": '{"opportunity_id": 12}', "trace": "t"}, {"opportunity_id": 12}),
        ({"payload": "hello", "opportunity_id": "1"}, {"payload": "hello", "opportunity_id": "1"}),
        ({"message": "hello", "opportunity_id": "1"}, {"message": "hello", "opportunity_id": "1"}),
        ({"body": '{"opportunity_id": 12}', "data": "{}"}, {"opportunity_id": 12}),
        ({b"\xff": b"\xfe"}, {"\\xff": "\\xfe"}),
    ],
)
async def test_entries_of_others_are_messages(
    client: Redis, queue: RedisQueue, address: QueueAddress, fields: dict[Any, Any], body: dict[str, Any]
) -> None:
    entry = str(await client.xadd(address.name, fields), "ascii")  # type: ignore[arg-type]  # it decodes nothing
    (message,) = await take(queue, 1)
    assert json.loads(message.body) == body
    assert (message.identity, message.deliveries) == (entry, 1)
    await queue.release(message.handle, 0.0)
    (again,) = await take(queue, 1)
    assert (again.identity, again.body, again.deliveries) == (entry, message.body, 2)
    await queue.dead(again.handle, FAILURE)
    assert await letters_of(address) == [(entry, message.body)]


async def test_a_message_is_what_it_is_even_if_it_is_no_json(
    client: Redis, queue: RedisQueue, address: QueueAddress
) -> None:
    await client.xadd(address.name, {"data": "hello"})
    await client.xadd(address.name, {"id": "mine", "body": b"\xff", "deliveries": "many"})
    one, two = await take(queue, 2)
    assert one.body == b"hello"
    assert (two.identity, two.body, two.deliveries) == ("mine", b"\xff", 1)


async def test_a_stream_that_others_made_is_read_from_its_beginning(
    client: Redis, address: QueueAddress
) -> None:
    for number in range(3):
        await client.xadd(address.name, {"body": str(number)})
    async with RedisQueue(address, LEASE) as queue:
        assert [message.body for message in await take(queue, 3)] == [b"0", b"1", b"2"]


async def test_a_stream_does_not_grow_and_no_worker_is_left_in_its_group(
    client: Redis, publisher: RedisPublisher, address: QueueAddress
) -> None:
    await publisher.publish([(str(number), b"x") for number in range(1_200)])
    queue = RedisQueue(address, LEASE)
    await queue.open()
    messages = await take(queue, 1_200)
    await queue.ack([message.handle for message in messages])
    assert await client.xlen(address.name) == 0
    assert len(await client.xinfo_consumers(address.name, address.group)) == 1
    await queue.close()
    assert await client.xinfo_consumers(address.name, address.group) == []


async def test_a_key_that_is_no_stream_is_an_error(client: Redis, address: QueueAddress) -> None:
    await client.set(address.name, "text")
    for openable in (RedisQueue(address, LEASE), RedisPublisher(address)):
        with pytest.raises(QueueError, match="WRONGTYPE") as caught:
            await openable.open()
        assert not isinstance(caught.value, QueueUnavailable)


async def test_when_the_group_is_destroyed_what_is_not_acknowledged_comes_again(
    client: Redis, publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    await publisher.publish([(str(number), b"x") for number in range(4)])
    held = await take(queue, 2)
    await client.xgroup_destroy(address.name, address.group)
    await queue.ack([held[0].handle])
    await queue.dead(held[1].handle, FAILURE)
    again = await take(queue, 4)
    assert [message.identity for message in again] == ["0", "1", "2", "3"]
    assert await letters_of(address) == []
    await queue.ack([message.handle for message in again])
    assert await queue.is_drained()


async def test_a_receive_outlives_the_loss_of_the_group_it_waits_for(
    client: Redis, publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    receiving = asyncio.create_task(queue.receive(5, 10.0))
    await asyncio.sleep(0.1)
    await client.xgroup_destroy(address.name, address.group)
    await asyncio.sleep(0.1)
    await publisher.publish([("x", b"")])
    assert [message.identity for message in await receiving] == ["x"]


async def test_without_its_stream_a_queue_is_an_error_until_there_is_one_again(
    client: Redis, publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    await client.delete(address.name)
    with pytest.raises(QueueError, match=f"there is no stream {address.name}") as caught:
        await queue.receive(1, 1.0)
    assert not isinstance(caught.value, QueueUnavailable)
    await publisher.publish([("x", b"")])
    assert [message.identity for message in await take(queue, 1)] == ["x"]


async def test_a_delayed_message_survives_the_loss_of_the_stream(
    client: Redis, publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"body")])
    (message,) = await take(queue, 1)
    await queue.release(message.handle, 0.5)
    await client.delete(address.name)
    await asyncio.sleep(0.6)
    (again,) = await take(queue, 1)
    assert (again.identity, again.body, again.deliveries) == ("x", b"body", 2)


async def until_it_works(call: Callable[[], Awaitable[_T]]) -> _T:
    """As a worker does it: again, for as long as the broker is only unavailable."""
    while True:
        with suppress(QueueUnavailable):
            return await call()
        await asyncio.sleep(0.05)


async def test_nothing_confirmed_is_lost_when_the_broker_is_killed(redis_server: RedisServer) -> None:
    address = address_at(redis_server.url)
    # What the broker had handed out when it was killed, and we never saw, comes when the lease is over.
    publisher, queue = RedisPublisher(address), RedisQueue(address, 3 * LEASE)
    await publisher.open()
    await queue.open()
    identities = {str(number) for number in range(300)}
    done: set[str] = set()

    async def publish() -> None:
        for identity in sorted(identities):
            await until_it_works(partial(publisher.publish, [(identity, b"x")]))
            await asyncio.sleep(0.005)

    async def work() -> None:
        while not (done == identities and await until_it_works(queue.is_drained)):
            for message in await until_it_works(partial(queue.receive, 10, 0.5)):
                if message.deliveries == 1 and int(message.identity) % 3 == 0:
                    await until_it_works(partial(queue.release, message.handle, 0.3))
                else:
                    await until_it_works(partial(queue.ack, [message.handle]))
                    done.add(message.identity)

    async def kill() -> None:
        for _ in range(3):
            await asyncio.sleep(0.6)
            await asyncio.to_thread(redis_server.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(redis_server.start)

    async with asyncio.timeout(60):
        await asyncio.gather(publish(), work(), kill())
    await queue.close()
    await publisher.close()


async def test_what_is_held_when_the_broker_restarts_can_still_be_acknowledged(
    redis_server: RedisServer,
) -> None:
    address = address_at(redis_server.url)
    publisher, queue = RedisPublisher(address), RedisQueue(address, LEASE)
    await publisher.open()
    await publisher.publish([("held", b""), ("late", b""), ("dead", b"")])
    await queue.open()
    held, late, dead = await take(queue, 3)
    await queue.release(late.handle, 1.0)
    await asyncio.to_thread(redis_server.kill)
    with pytest.raises(QueueUnavailable):
        await queue.ack([held.handle])
    with pytest.raises(QueueUnavailable):
        await queue.receive(1, 0.1)
    await asyncio.to_thread(redis_server.start)
    await queue.ack([held.handle])
    await queue.dead(dead.handle, FAILURE)
    assert not await queue.is_drained()
    assert [(m.identity, m.deliveries) for m in await take(queue, 1)] == [("late", 2)]
    assert await letters_of(address) == [("dead", b"")]
    await queue.close()
    await publisher.close()


async def test_credentials_that_are_refused_are_an_error_and_are_not_repeated() -> None:
    with running(RedisServer, "--requirepass", "right-s3cret") as server:
        host = server.url.removeprefix("redis://")
        async with Redis.from_url(f"redis://:right-s3cret@{host}") as client:
            await client.execute_command("ACL", "SETUSER", "reader", "on", ">s3cret", "+ping", "~*")  # type: ignore[no-untyped-call]  # untyped there
        for login in (":wrong-s3cret@", "nobody:s3cret@", "", "reader:s3cret@"):
            address = address_at(f"redis://{login}{host}")
            for openable in (RedisQueue(address, LEASE), RedisPublisher(address)):
                with pytest.raises(QueueError) as caught:
                    await openable.open()
                assert not isinstance(caught.value, QueueUnavailable), login
                assert "s3cret" not in str(caught.value)
                assert host.removesuffix("/0") in str(caught.value)
                await openable.close()
        publisher = RedisPublisher(address_at(f"redis://:right-s3cret@{host}"))
        await publisher.open()
        await publisher.close()


async def test_a_database_that_is_not_there_is_an_error(redis_url: str) -> None:
    address = address_at(redis_url.removesuffix("/0") + "/99")
    with pytest.raises(QueueError, match="out of range") as caught:
        await RedisQueue(address, LEASE).open()
    assert not isinstance(caught.value, QueueUnavailable)


async def test_a_full_broker_is_unavailable_and_can_still_be_emptied(redis_server: RedisServer) -> None:
    address = address_at(redis_server.url)
    publisher, queue = RedisPublisher(address), RedisQueue(address, LEASE)
    await publisher.open()
    await publisher.publish([(str(number), bytes(1_000)) for number in range(5)])
    await queue.open()
    async with Redis.from_url(address.server) as client:
        await client.config_set("maxmemory", "1mb")
        with pytest.raises(QueueUnavailable, match="maxmemory"):
            await publisher.publish([("x", b"secret body")])
        messages = await take(queue, 5)
        assert len(messages) == 5
        for settle in (queue.release(messages[1].handle, 5.0), queue.release(messages[2].handle, 0.0)):
            with pytest.raises(QueueUnavailable, match="maxmemory"):
                await settle
        with pytest.raises(QueueUnavailable, match="maxmemory"):
            await queue.dead(messages[3].handle, FAILURE)
        await queue.ack([messages[0].handle])
        assert await client.xlen(address.name) == 4
        await client.config_set("maxmemory", "0")
    await queue.ack([messages[1].handle, messages[2].handle])
    await queue.dead(messages[3].handle, FAILURE)
    await queue.ack([messages[4].handle])
    assert await queue.is_drained()
    assert [identity for identity, _ in await letters_of(address)] == ["3"]
    await queue.close()
    await publisher.close()


async def test_a_replica_is_unavailable_until_it_is_made_the_master(redis_server: RedisServer) -> None:
    address = address_at(redis_server.url)
    publisher, queue = RedisPublisher(address), RedisQueue(address, LEASE)
    await publisher.open()
    await publisher.publish([("x", b"")])
    await queue.open()
    async with Redis.from_url(address.server) as client:
        await client.replicaof("127.0.0.1", "1")
        with pytest.raises(QueueUnavailable):
            await publisher.publish([("y", b"")])
        with pytest.raises(QueueUnavailable):
            await queue.receive(1, 0.1)
        await client.replicaof("NO", "ONE")
    assert [message.identity for message in await take(queue, 1)] == ["x"]
    await queue.close()
    await publisher.close()


async def test_a_worker_that_was_frozen_does_not_take_back_what_others_have_got(
    client: Redis, publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"")])
    url = f"{address.server}?stream={address.name}"
    frozen = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HOLDER, url, str(LEASE)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert frozen.stdout is not None
        assert await frozen.stdout.readline() == b"held\n"
        assert await take(queue, 1, within=2 * LEASE) == []
        frozen.send_signal(signal.SIGSTOP)
        (message,) = await take(queue, 1)
        assert message.deliveries == 2
        owners = set()
        frozen.send_signal(signal.SIGCONT)
        for _ in range(100):
            await asyncio.sleep(2 * LEASE / 100)
            (pending,) = await client.xpending_range(address.name, address.group, "-", "+", 10)
            owners.add(pending["consumer"])
        assert owners == {queue._consumer.encode()}
        await queue.ack([message.handle])
        assert await queue.is_drained()
    finally:
        frozen.kill()
        await frozen.communicate()


@pytest.mark.parametrize("how", ["ack", "dead", "release", "close"])
async def test_a_worker_whose_lease_ran_out_changes_nothing(
    how: str, publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"")])
    async with RedisQueue(address, LEASE) as late:
        (stale,) = await take(late, 1)
        assert late._renewing is not None
        late._renewing.cancel()  # as if its loop had been blocked
        (message,) = await take(queue, 1)
        if how == "ack":
            await late.ack([stale.handle])
        elif how == "dead":
            await late.dead(stale.handle, FAILURE)
        elif how == "release":
            await late.release(stale.handle, 0.0)
        else:
            await late.close()
    assert await letters_of(address) == []
    assert not await queue.is_drained()
    assert await take(queue, 1, within=0.5) == []
    await queue.release(message.handle, 0.0)
    assert [again.deliveries for again in await take(queue, 1)] == [3]


async def test_a_message_that_comes_to_its_late_worker_again_has_a_new_handle(
    publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"")])
    (stale,) = await take(queue, 1)
    assert queue._renewing is not None
    queue._renewing.cancel()
    (message,) = await take(queue, 1)
    assert message.deliveries == 2
    await queue.ack([stale.handle])
    await queue.dead(stale.handle, FAILURE)
    await queue.release(stale.handle, 0.0)
    assert await letters_of(address) == []
    assert not await queue.is_drained()
    await queue.ack([message.handle])
    assert await queue.is_drained()


async def test_what_a_cancelled_receive_has_fetched_is_given_back_unseen(
    publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    async with RedisQueue(address, LONG) as other:
        receiving = asyncio.create_task(other.receive(1, 10.0))
        await asyncio.sleep(0.1)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        await publisher.publish([("x", b"")])
        await asyncio.sleep(0.1)
        # It has arrived at the other, whose caller is gone.
        assert await take(queue, 1, within=0.5) == []
    assert [(message.identity, message.deliveries) for message in await take(queue, 1)] == [("x", 1)]


async def test_a_queue_may_be_closed_under_a_receive(queue: RedisQueue) -> None:
    receiving = asyncio.create_task(queue.receive(1, 10.0))
    await asyncio.sleep(0.1)
    await queue.close()
    with pytest.raises(QueueUnavailable, match="closed"):
        await receiving
    with pytest.raises(QueueUnavailable, match="closed"):
        await queue.is_drained()


async def test_more_leases_run_out_at_once_than_one_look_can_find(
    publisher: RedisPublisher, queue: RedisQueue, address: QueueAddress
) -> None:
    """A dead worker's message may stand behind thousands that live ones hold."""
    await publisher.publish([(str(number), b"") for number in range(3_000)])
    async with RedisQueue(address, LEASE) as living:
        assert len(await take(living, 2_990)) == 2_990
        dead = RedisQueue(address, LEASE)
        await dead.open()
        assert len(await take(dead, 10)) == 10
        assert dead._renewing is not None
        dead._renewing.cancel()
        again: list[Message] = []
        end = time.monotonic() + 10 * LEASE
        while len(again) < 10 and time.monotonic() < end:
            again += await queue.receive(1, 0.5)
        assert sorted(int(message.identity) for message in again) == list(range(2_990, 3_000))
        await dead.close()


async def test_a_cancellation_is_never_lost(publisher: RedisPublisher, queue: RedisQueue) -> None:
    """The library swallows one in ten that come while it speaks to the server."""
    for number in range(300):
        for call in (queue.is_drained(), publisher.publish([("x", b"")]), queue.receive(1, 0.0)):
            task = asyncio.create_task(call)
            for _ in range(number % 20):
                await asyncio.sleep(0)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await task
