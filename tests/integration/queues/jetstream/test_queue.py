"""What is NATS' own: messages of others, lost consumers, its deaths and limits, and who may settle."""

import asyncio
import gc
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, RetentionPolicy, StreamConfig

from tests.brokers import NatsServer, free_port, running
from tests.proxy import Proxy
from worker.errors import QueueError, QueueUnavailable, UsageError
from worker.queues import Failure, Message, QueueAddress, parse_address
from worker.queues.jetstream import open_dead_letters, open_publisher, open_queue
from worker.queues.jetstream.dead_letters import JetStreamDeadLetters
from worker.queues.jetstream.publisher import JetStreamPublisher
from worker.queues.jetstream.queue import JetStreamQueue

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
async def nothing_is_left(capfd: pytest.CaptureFixture[str]) -> AsyncIterator[None]:
    """No task outlives a test, the loop hears no complaint, and nothing is printed."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert capfd.readouterr().err == ""


def address_at(server: str) -> QueueAddress:
    return parse_address(f"{server}?stream=links-{uuid4().hex}")


@pytest.fixture
def address(nats_url: str) -> QueueAddress:
    return address_at(nats_url)


@pytest.fixture
async def js(address: QueueAddress) -> AsyncIterator[JetStreamContext]:
    """Somebody who knows nothing of us."""
    client = await nats.connect(address.server)
    yield client.jetstream()
    await client.close()


@pytest.fixture
async def publisher(address: QueueAddress) -> AsyncIterator[JetStreamPublisher]:
    publisher = JetStreamPublisher(address)
    await publisher.open()
    yield publisher
    await publisher.close()


@pytest.fixture
async def queue(
    publisher: JetStreamPublisher,  # noqa: ARG001 - it has made the stream
    address: QueueAddress,
) -> AsyncIterator[JetStreamQueue]:
    async with JetStreamQueue(address, LEASE) as queue:
        yield queue


async def take(queue: JetStreamQueue, count: int, within: float = 10.0) -> list[Message]:
    messages: list[Message] = []
    end = time.monotonic() + within
    while len(messages) < count and time.monotonic() < end:
        messages += await queue.receive(count - len(messages), 0.5)
    return messages


async def is_soon_drained(queue: JetStreamQueue) -> bool:
    """The server needs a moment to see what it was told."""
    for _ in range(100):
        if await queue.is_drained():
            return True
        await asyncio.sleep(0.02)
    return False


async def letters_of(address: QueueAddress) -> list[tuple[str, bytes]]:
    letters = JetStreamDeadLetters(address)
    await letters.open()
    try:
        return [(letter.identity, letter.body) for letter in await letters.letters(1_000)]
    finally:
        await letters.close()


@pytest.mark.parametrize("url", ["?stream=a.b", "?stream=a:b", "?stream=a&durable=b.c"])
def test_a_name_that_nats_cannot_bear_is_refused(url: str) -> None:
    address = parse_address(f"nats://user:s3cret@127.0.0.1{url}")
    for opening in (
        lambda it: open_queue(it, lease=LEASE),
        lambda it: open_publisher(it, for_work=True),
        open_dead_letters,
    ):
        with pytest.raises(UsageError, match=r"may hold no \. and no :") as caught:
            opening(address)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        (None, None),
        ({"Trace": "t"}, None),
        ({"Nats-Msg-Id": "theirs"}, "theirs"),
        ({"Nats-Msg-Id": "100%25"}, "100%25"),
        ({"Nats-Msg-Id": "1", "Bulklink-Id": "%C3%BC 7"}, "\u00fc 7"),
    ],
)
async def test_messages_of_others_are_messages(
    js: JetStreamContext,
    queue: JetStreamQueue,
    address: QueueAddress,
    headers: dict[str, str] | None,
    identity: str | None,
) -> None:
    confirmed = await js.publish(address.name, b"\xffbody", headers=headers)
    expected = identity or f"{address.name}.{confirmed.seq}"
    (message,) = await take(queue, 1)
    assert (message.identity, message.body, message.deliveries) == (expected, b"\xffbody", 1)
    await queue.release(message.handle, 0.0)
    (again,) = await take(queue, 1)
    assert (again.identity, again.deliveries) == (expected, 2)
    await queue.dead(again.handle, FAILURE)
    assert await letters_of(address) == [(expected, b"\xffbody")]


async def test_a_stream_that_others_made_is_used_as_it_is(
    js: JetStreamContext, address: QueueAddress
) -> None:
    subjects = [f"{address.name}.>", f"in-{address.name}"]
    await js.add_stream(StreamConfig(name=address.name, subjects=[f"a-{subjects[0]}", subjects[1]]))
    await js.publish(f"a-{address.name}.x.y", b"theirs")
    publisher = JetStreamPublisher(address)
    await publisher.open()
    await publisher.publish([("ours", b"ours")])
    async with JetStreamQueue(address, LEASE) as queue:
        messages = await take(queue, 2)
        assert [message.body for message in messages] == [b"theirs", b"ours"]
        assert not await queue.is_drained()
        await queue.ack([message.handle for message in messages])
        assert await take(queue, 1, within=0.5) == []
        assert await queue.is_drained()
    info = await js.stream_info(address.name)
    assert (info.config.retention, info.state.messages) == (RetentionPolicy.LIMITS, 2)
    await publisher.close()


async def test_a_stream_without_a_subject_to_publish_on_is_an_error(
    js: JetStreamContext, address: QueueAddress
) -> None:
    await js.add_stream(StreamConfig(name=address.name, subjects=[f"{address.name}.>"]))
    publisher = JetStreamPublisher(address)
    with pytest.raises(QueueError, match="no subject without a wildcard") as caught:
        await publisher.open()
    assert not isinstance(caught.value, QueueUnavailable)


async def test_a_stream_that_would_take_in_the_dead_letters_is_an_error(
    js: JetStreamContext, address: QueueAddress
) -> None:
    await js.add_stream(StreamConfig(name=address.name, subjects=[address.name, f"{address.name}.>"]))
    queue = JetStreamQueue(address, LEASE)
    with pytest.raises(QueueError, match="overlap") as caught:
        await queue.open()
    assert not isinstance(caught.value, QueueUnavailable)


async def test_the_lease_of_a_consumer_that_is_there_is_kept_to(
    js: JetStreamContext, publisher: JetStreamPublisher, address: QueueAddress
) -> None:
    config = ConsumerConfig(durable_name=address.group, ack_policy=AckPolicy.EXPLICIT, ack_wait=LEASE)
    await js.add_consumer(address.name, config)
    await publisher.publish([("x", b"")])
    async with JetStreamQueue(address, LONG) as queue, JetStreamQueue(address, LONG) as other:
        assert len(await take(queue, 1)) == 1
        assert await take(other, 1, within=3 * LEASE) == []
    assert (await js.consumer_info(address.name, address.group)).config.ack_wait == LEASE


async def test_a_consumer_that_needs_no_acknowledgement_is_an_error(
    js: JetStreamContext, address: QueueAddress
) -> None:
    await js.add_stream(StreamConfig(name=address.name, subjects=[address.name]))
    config = ConsumerConfig(durable_name=address.group, ack_policy=AckPolicy.NONE)
    await js.add_consumer(address.name, config)
    with pytest.raises(QueueError, match="explicit") as caught:
        await JetStreamQueue(address, LEASE).open()
    assert not isinstance(caught.value, QueueUnavailable)


async def test_a_consumer_that_gives_messages_up_by_itself_is_an_error(
    js: JetStreamContext, address: QueueAddress
) -> None:
    """It would leave them in the stream, neither handed out nor among the dead letters."""
    await js.add_stream(StreamConfig(name=address.name, subjects=[address.name]))
    config = ConsumerConfig(durable_name=address.group, ack_policy=AckPolicy.EXPLICIT, max_deliver=3)
    await js.add_consumer(address.name, config)
    with pytest.raises(QueueError, match="after 3 deliveries; make it without max_deliver") as caught:
        await JetStreamQueue(address, LEASE).open()
    assert not isinstance(caught.value, QueueUnavailable)


async def test_a_stream_does_not_grow(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await publisher.publish([(str(number), b"x") for number in range(1_200)])
    messages = await take(queue, 1_200)
    await queue.dead(messages[0].handle, FAILURE)
    await queue.ack([message.handle for message in messages[1:]])
    assert await is_soon_drained(queue)
    assert (await js.stream_info(address.name)).state.messages == 0


async def test_what_is_published_twice_is_there_once(
    js: JetStreamContext, publisher: JetStreamPublisher, address: QueueAddress
) -> None:
    batch = [(f"{number} \u00fc", b"x") for number in range(700)]
    await publisher.publish(batch[:10])
    await publisher.publish(batch)
    await publisher.publish(batch)
    assert (await js.stream_info(address.name)).state.messages == 700


async def test_a_letter_that_is_requeued_at_once_arrives_whoever_named_it(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await publisher.publish([("ours", b"1")])
    await js.publish(address.name, b"2", headers={"Nats-Msg-Id": "theirs"})
    await js.publish(address.dead_name, b"3")
    letters = JetStreamDeadLetters(address)
    await letters.open()
    for _ in range(3):
        for message in await take(queue, 2):
            await queue.dead(message.handle, FAILURE)
        count = len(await letters.letters(10))
        assert await letters.requeue(10) == count >= 2
        assert await letters.letters(10) == []
    back = await take(queue, 3)
    assert {(message.identity, message.body) for message in back} >= {("ours", b"1"), ("theirs", b"2")}
    await letters.close()


async def test_a_requeue_that_was_cut_off_and_made_again_does_not_double(
    publisher: JetStreamPublisher,
    queue: JetStreamQueue,
    address: QueueAddress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await publisher.publish([("a", b"1"), ("b", b"2")])
    for message in await take(queue, 2):
        await queue.dead(message.handle, FAILURE)
    letters = JetStreamDeadLetters(address)
    await letters.open()

    async def cut_off(_: JetStreamDeadLetters, __: object) -> None:
        raise QueueUnavailable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(JetStreamDeadLetters, "_forget", cut_off)
        with pytest.raises(QueueUnavailable):
            await letters.requeue(10)
    assert len(await letters.letters(10)) == 2
    assert await letters.requeue(10) == 2
    assert [message.identity for message in await take(queue, 3, within=1.0)] == ["a", "b"]
    await letters.close()


async def test_when_the_consumer_is_deleted_what_is_not_acknowledged_comes_again(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await publisher.publish([(str(number), b"x") for number in range(4)])
    held = await take(queue, 2)
    await js.delete_consumer(address.name, address.group)
    again = await take(queue, 4)
    assert [message.identity for message in again] == ["0", "1", "2", "3"]
    await queue.dead(held[0].handle, FAILURE)
    assert await letters_of(address) == []
    await queue.ack([message.handle for message in again])
    await asyncio.sleep(0.2)
    assert await queue.is_drained()


async def test_when_others_made_the_consumer_again_what_was_held_is_forgotten(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"")])
    (stale,) = await take(queue, 1)
    await js.delete_consumer(address.name, address.group)
    async with JetStreamQueue(address, LONG) as other:
        assert len(await take(other, 1)) == 1
        await asyncio.sleep(LEASE)
        await queue.dead(stale.handle, FAILURE)
        assert await letters_of(address) == []


async def test_a_receive_outlives_the_loss_of_the_consumer_it_waits_for(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    receiving = asyncio.create_task(queue.receive(5, 20.0))
    await asyncio.sleep(0.1)
    await js.delete_consumer(address.name, address.group)
    await asyncio.sleep(0.1)
    await publisher.publish([("x", b"")])
    assert [message.identity for message in await receiving] == ["x"]


async def test_a_consumer_of_which_the_server_tells_nothing_is_made_again(
    js: JetStreamContext,
    publisher: JetStreamPublisher,
    queue: JetStreamQueue,
    address: QueueAddress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a server answers about one that it is just removing."""

    async def nothing(*_: object) -> ConsumerInfo:
        told = {"type": "io.nats.jetstream.api.v1.consumer_info_response"}
        info: ConsumerInfo = ConsumerInfo.from_response(told)
        return info

    await js.delete_consumer(address.name, address.group)
    await publisher.publish([("x", b"")])
    monkeypatch.setattr(JetStreamContext, "consumer_info", nothing)
    with pytest.raises(TypeError):
        await nothing()
    assert [message.identity for message in await queue.receive(5, 10.0)] == ["x"]


async def test_without_its_stream_a_queue_is_an_error_until_there_is_one_again(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await js.delete_stream(address.name)
    gone = f"there is no stream {address.name}"
    for call in (queue.receive(1, 1.0), queue.is_drained(), publisher.publish([("x", b"")])):
        with pytest.raises(QueueError, match=gone) as caught:
            await call
        assert not isinstance(caught.value, QueueUnavailable)
    await publisher.open()
    await publisher.publish([("x", b"")])
    assert [message.identity for message in await take(queue, 1)] == ["x"]


async def test_dead_letters_are_kept_even_if_their_stream_was_deleted(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"body")])
    (message,) = await take(queue, 1)
    await js.delete_stream(f"{address.name}_dead")
    await queue.dead(message.handle, FAILURE)
    assert await letters_of(address) == [("x", b"body")]


async def test_a_request_that_is_never_answered_brings_nothing_later(
    js: JetStreamContext, publisher: JetStreamPublisher, address: QueueAddress
) -> None:
    config = ConsumerConfig(
        durable_name=address.group, ack_policy=AckPolicy.EXPLICIT, ack_wait=LONG, max_ack_pending=2
    )
    await js.add_consumer(address.name, config)
    await publisher.publish([(str(number), b"") for number in range(6)])
    async with JetStreamQueue(address, LONG) as queue:
        held = await take(queue, 2)
        for _ in range(2):
            assert await queue.receive(10, 0.1) == []
        await asyncio.sleep(0.5)
        await queue.ack([message.handle for message in held])
        await asyncio.sleep(0.5)
        assert list(queue._fetched) == []
        assert len(await take(queue, 2)) == 2


async def test_nothing_confirmed_is_lost_when_the_broker_is_killed(nats_server: NatsServer) -> None:
    address = address_at(nats_server.url)
    publisher, queue = JetStreamPublisher(address), JetStreamQueue(address, LONG)
    await publisher.open()
    await queue.open()
    confirmed: list[str] = []
    done: list[str] = []

    async def publish() -> None:
        for number in range(300):
            while True:
                with suppress(QueueUnavailable):
                    await publisher.publish([(str(number), b"x")])
                    break
                await asyncio.sleep(0.05)
            confirmed.append(str(number))
            await asyncio.sleep(0.005)

    async def work() -> None:
        while set(done) != {str(number) for number in range(300)}:
            try:
                messages = await queue.receive(10, 0.5)
                done.extend(message.identity for message in messages)
                released = [message for message in messages if message.deliveries == 1][:1]
                for message in released:
                    await queue.release(message.handle, 0.3)
                await queue.ack([message.handle for message in messages if message not in released])
            except QueueUnavailable:
                await asyncio.sleep(0.05)

    async def kill() -> None:
        for _ in range(3):
            await asyncio.sleep(0.6)
            await asyncio.to_thread(nats_server.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(nats_server.start)

    async with asyncio.timeout(60):
        await asyncio.gather(publish(), work(), kill())
    assert confirmed == [str(number) for number in range(300)]
    await publisher.close()
    await queue.close()


async def test_without_a_broker_every_call_is_unavailable_and_afterwards_works_again(
    nats_server: NatsServer,
) -> None:
    address = address_at(nats_server.url)
    publisher, queue = JetStreamPublisher(address), JetStreamQueue(address, LONG)
    letters = JetStreamDeadLetters(address)
    await publisher.open()
    await publisher.publish([("held", b""), ("late", b""), ("dead", b""), ("back", b"")])
    await queue.open()
    await letters.open()
    held, late, dead, back = await take(queue, 4)
    await queue.dead(back.handle, FAILURE)
    waiting = asyncio.create_task(queue.receive(1, 30.0))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(nats_server.kill)

    began = time.monotonic()
    with pytest.raises(QueueUnavailable):
        await waiting
    for call in (
        queue.ack([held.handle]),
        queue.release(late.handle, 0.1),
        queue.dead(dead.handle, FAILURE),
        queue.receive(1, 0.1),
        publisher.publish([("new", b"")]),
        letters.letters(1),
        letters.requeue(1),
    ):
        with pytest.raises(QueueUnavailable, match=f"127.0.0.1:{nats_server.port}") as caught:
            await call
        assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 10.0

    await asyncio.to_thread(nats_server.start)
    await asyncio.sleep(0.3)
    await queue.ack([held.handle])
    await queue.dead(dead.handle, FAILURE)
    await queue.release(late.handle, 0.5)
    assert not await queue.is_drained()
    assert await letters.requeue(1) == 1
    await publisher.publish([("new", b"")])
    # A server that was killed may have forgotten what its consumer did last: the original of "back" may come
    # too, and deliveries may be counted from the beginning.
    again = await take(queue, 4, within=3.0)
    assert {message.identity for message in again} == {"late", "new", "back"}
    assert await letters_of(address) == [("dead", b"")]
    for it in (queue, publisher, letters):
        await it.close()


@pytest.mark.long
async def test_a_broker_that_hangs_is_unavailable_and_does_not_hold_up_the_end(
    nats_server: NatsServer,
) -> None:
    address = address_at(nats_server.url)
    publisher, queue = JetStreamPublisher(address), JetStreamQueue(address, LONG)
    await publisher.open()
    await publisher.publish([("x", b"")])
    await queue.open()
    (message,) = await take(queue, 1)
    stop = ["kill", "-STOP", str(nats_server.pid)]
    await asyncio.to_thread(subprocess.run, stop, check=True)
    began = time.monotonic()
    calls = (
        queue.ack([message.handle]),
        queue.receive(1, 0.1),
        publisher.publish([(str(number), bytes(500_000)) for number in range(20)]),
    )
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, QueueUnavailable)
    assert time.monotonic() - began < 25.0
    await publisher.close()
    await queue.close()
    assert time.monotonic() - began < 35.0


@pytest.mark.parametrize("login", ["", "user:wrong-s3cret@", "nobody:s3cret@", "s3cret-token@"])
async def test_credentials_that_are_refused_are_an_error_and_are_not_repeated(login: str) -> None:
    with running(NatsServer, "--user", "user", "--pass", "right/s3cret") as server:
        host = server.url.removeprefix("nats://")
        address = address_at(f"nats://{login}{host}")
        for openable in (
            JetStreamQueue(address, LEASE),
            JetStreamPublisher(address),
            JetStreamDeadLetters(address),
        ):
            with pytest.raises(QueueError, match=r"(?i)authorization") as caught:
                await openable.open()
            assert not isinstance(caught.value, QueueUnavailable)
            assert "s3cret" not in str(caught.value)
            assert host in str(caught.value)
            await openable.close()
        publisher = JetStreamPublisher(address_at(f"nats://user:right%2Fs3cret@{host}"))
        await publisher.open()
        await publisher.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has long said no when a call is given up."""
    monkeypatch.setattr("worker.queues.jetstream.connection.CALL_SECONDS", 1.0)


@pytest.mark.usefixtures("hasty")
async def test_rights_that_are_missing_are_an_error(nats_server: NatsServer) -> None:
    config = nats_server.folder / "nats.conf"
    config.write_text(
        'authorization { users = [{user: reader, password: s3cret, permissions: {publish: ["$JS.API.>"]}}]}'
    )
    with running(NatsServer, "-c", str(config)) as server:
        host = server.url.removeprefix("nats://")
        address = address_at(f"nats://reader:s3cret@{host}")
        publisher = JetStreamPublisher(address)
        await publisher.open()
        with pytest.raises(QueueError, match=r"(?i)permissions violation") as caught:
            await publisher.publish([("x", b"secret body")])
        assert not isinstance(caught.value, QueueUnavailable)
        assert "s3cret" not in str(caught.value)
        await publisher.close()


class PlainNats(NatsServer):
    """Without JetStream."""

    def command(self) -> list[str]:
        return [self.program, "-a", "127.0.0.1", "-p", str(self.port), *self.options]


async def test_a_server_without_jetstream_is_an_error() -> None:
    with running(PlainNats) as server:
        address = address_at(server.url)
        for openable in (
            JetStreamQueue(address, LEASE),
            JetStreamPublisher(address),
            JetStreamDeadLetters(address),
        ):
            with pytest.raises(QueueError, match="JetStream is not enabled") as caught:
                await openable.open()
            assert not isinstance(caught.value, QueueUnavailable)


async def test_a_server_without_tls_is_an_error_if_the_url_asks_for_it(nats_url: str) -> None:
    address = address_at(nats_url.replace("nats://", "tls://"))
    with pytest.raises(QueueError, match="no TLS") as caught:
        await JetStreamPublisher(address).open()
    assert not isinstance(caught.value, QueueUnavailable)


async def test_nobody_at_the_address_is_told_at_once() -> None:
    address = address_at(f"nats://user:s3cret@127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(QueueUnavailable) as caught:
        await JetStreamPublisher(address).open()
    assert time.monotonic() - began < 4.0
    assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("hasty")
async def test_a_full_stream_is_unavailable_until_there_is_room(
    js: JetStreamContext, address: QueueAddress
) -> None:
    await js.add_stream(
        StreamConfig(
            name=address.name,
            subjects=[address.name],
            retention=RetentionPolicy.WORK_QUEUE,
            max_msgs=2,
            discard="new",  # type: ignore[arg-type]  # as the server calls it
        )
    )
    publisher, queue = JetStreamPublisher(address), JetStreamQueue(address, LEASE)
    await publisher.open()
    await queue.open()
    batch = [(str(number), b"") for number in range(4)]
    with pytest.raises(QueueUnavailable, match="maximum messages exceeded"):
        await publisher.publish(batch)
    await queue.ack([message.handle for message in await take(queue, 2)])
    assert await is_soon_drained(queue)
    await publisher.publish(batch)
    assert [message.identity for message in await take(queue, 2)] == ["2", "3"]
    await queue.close()
    await publisher.close()


async def test_a_body_that_is_too_large_is_an_error_and_nothing_of_its_batch_is_published(
    js: JetStreamContext, publisher: JetStreamPublisher, address: QueueAddress
) -> None:
    with pytest.raises(
        QueueError, match=r"a message of 1048\d\d\d bytes; the server takes 1048576"
    ) as caught:
        await publisher.publish([("a", b"small"), ("b", bytes(1_048_560))])
    assert not isinstance(caught.value, QueueUnavailable)
    await publisher.publish([("c", b"")])
    assert (await js.stream_info(address.name)).state.messages == 1


async def test_a_message_that_barely_fits_can_die(
    js: JetStreamContext, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await js.publish(address.name, bytes(1_048_576 - 600))
    (message,) = await take(queue, 1)
    await queue.dead(message.handle, Failure("\u20ac" * 5_000, "rejected"))
    ((identity, body),) = await letters_of(address)
    assert (identity, len(body)) == (f"{address.name}.1", 1_048_576 - 600)


@pytest.mark.parametrize("room", [0, 1, 12, 40, 90, 120, 150, 200, 250, 400])
async def test_a_message_that_fills_all_that_a_server_takes_can_die_and_be_put_back(
    js: JetStreamContext, queue: JetStreamQueue, address: QueueAddress, room: int
) -> None:
    """Else it would end one worker after another; what there is no room for is left out of its letter."""
    body = b'{"opportunity_id":1,"contact_id":2}'.ljust(1_048_576 - room)
    await js.publish(address.name, body)
    letters = JetStreamDeadLetters(address)
    await letters.open()
    messages = []
    for _ in range(2):
        messages += await take(queue, 1)
        await queue.dead(messages[-1].handle, FAILURE)
        (letter,) = await letters.letters(10)
        assert letter.body == body
        assert FAILURE.reason.startswith(letter.failure.reason) or letter.failure.reason == "unknown"
        assert abs(letter.dead_at - time.time()) < 10.0
        assert letter.failure == FAILURE or room < 400
        assert await letters.requeue(10) == 1
        assert await letters.letters(10) == []
    messages += await take(queue, 1)
    assert [message.body for message in messages] == [body] * 3
    assert len({message.life for message in messages}) == 3 or room < 400
    assert {message.identity for message in messages} == {f"{address.name}.1"} or room < 400
    await queue.ack([messages[-1].handle])
    assert await is_soon_drained(queue)
    await letters.close()


async def test_a_worker_that_was_frozen_does_not_take_back_what_others_have_got(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
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
        assert queue._renewing is not None
        queue._renewing.cancel()  # as if we were dead: if nobody renews the lease, it runs out
        frozen.send_signal(signal.SIGCONT)
        async with JetStreamQueue(address, LEASE) as third:
            assert [again.deliveries for again in await take(third, 1, within=3 * LEASE)] == [3]
            assert (await js.stream_info(address.name)).state.messages == 1
    finally:
        frozen.kill()
        await frozen.communicate()


@pytest.mark.parametrize("how", ["ack", "dead", "release", "close"])
async def test_a_worker_whose_lease_ran_out_changes_nothing(
    how: str, publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    await publisher.publish([("x", b"")])
    async with JetStreamQueue(address, LEASE) as late:
        (stale,) = await take(late, 1)
        assert late._renewing is not None
        late._renewing.cancel()  # as if its loop had been blocked
        # One long request: a server may send it twice if a request runs out just when a lease does.
        (message,) = await queue.receive(1, 3 * LEASE)
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


async def test_a_library_that_fails_in_closing_is_noticed_and_tells_the_terminal_nothing(
    publisher: JetStreamPublisher, address: QueueAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publisher.publish([("x", b"")])
    async with Proxy(address.server) as proxy:
        by_proxy = parse_address(f"{proxy.url}?stream={address.name}")
        async with JetStreamQueue(by_proxy, LEASE) as queue:
            assert queue._connection._connection is not None
            client, lost = queue._connection._connection

            async def fail() -> None:
                raise ConnectionResetError

            monkeypatch.setattr(client._transport, "drain", fail)
            client._pending_data_size = 1  # as if a word were on its way just then
            assert proxy.cut()
            await asyncio.wait_for(lost, 2.0)
            (message,) = await take(queue, 1)
            await queue.ack([message.handle])
            assert await is_soon_drained(queue)


async def test_a_receive_that_is_cancelled_holds_no_more_than_one_message_back(
    publisher: JetStreamPublisher, queue: JetStreamQueue, address: QueueAddress
) -> None:
    receiving = asyncio.create_task(queue.receive(50, 10.0))
    await asyncio.sleep(0.2)
    receiving.cancel()
    await asyncio.wait({receiving})
    await publisher.publish([(str(number), b"") for number in range(5)])
    async with JetStreamQueue(address, LEASE) as other:
        assert len(await take(other, 4, within=2.0)) == 4
        await queue.close()
        assert [message.deliveries for message in await take(other, 1)] == [2]


async def test_a_message_that_is_ours_is_not_handed_out_to_us_again(
    js: JetStreamContext, publisher: JetStreamPublisher, queue: JetStreamQueue
) -> None:
    await publisher.publish([("x", b"")])
    (message,) = await take(queue, 1)
    await js._nc.publish(queue._held[message.handle].reply, b"-NAK")
    assert await take(queue, 1, within=0.5) == []
    await queue.release(message.handle, 0.0)
    (again,) = await take(queue, 1)
    await queue.ack([again.handle])
    assert await is_soon_drained(queue)
