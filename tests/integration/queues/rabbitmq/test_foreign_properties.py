"""What publishers write beside a body is theirs: it stops no worker, and holds up no message."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import aio_pika
import pytest
from pamqp import commands, encode

from worker.queues import Failure, Message, open_dead_letters, open_publisher, open_queue, parse_address

_FAILURE = Failure("the portal says no", "rejected", 404, 3)


def table(name: bytes, value: bytes) -> bytes:
    """A table of one entry as it is sent."""
    return struct.pack(">IB", 1 + len(name) + len(value), len(name)) + name + value


def text(value: bytes) -> bytes:
    """Long text, with the letter of its type, as it is sent in a table."""
    return b"S" + struct.pack(">I", len(value)) + value


@dataclass(frozen=True)
class Written:
    """What stands beside a body: a property of this name and type, and the bytes that it is sent as."""

    name: str
    kind: str
    stand_in: object
    sent: bytes


NANOSECONDS = struct.pack(">Q", 1_760_000_000_000_000_000)
WRITTEN = {
    "a time in nanoseconds": Written("timestamp", "timestamp", 0, NANOSECONDS),
    "the last of all times": Written("timestamp", "timestamp", 0, b"\xff" * 8),
    "a time in nanoseconds as a header": Written("headers", "table", {}, table(b"at", b"T" + NANOSECONDS)),
    "a name in Latin-1": Written("message_id", "shortstr", "?", b"\x04caf\xe9"),
    "the longest name in Latin-1": Written("message_id", "shortstr", "?", b"\xff" + b"\xe9" * 255),
    "a header whose name is in Latin-1": Written("headers", "table", {}, table(b"caf\xe9", b"t\x01")),
    "a header that is no text": Written("headers", "table", {}, table(b"k", text(b"\xff\xfe"))),
    "no text deep in a header": Written(
        "headers", "table", {}, table(b"k", b"F" + table(b"k", text(b"\xff\xfe")))
    ),
    "a count of its own": Written("headers", "table", {}, table(b"x-delivery-count", text(b"some"))),
    "a count of ours": Written("headers", "table", {}, table(b"x-bulklink-deliveries", text(b"some"))),
}


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Written], commands.Basic.Properties]:
    """Gives properties that are sent as they are written, which the library itself would refuse."""

    def write(it: Written) -> commands.Basic.Properties:
        usual = encode.METHODS[it.kind]
        monkeypatch.setitem(
            encode.METHODS, it.kind, lambda value: it.sent if value is it.stand_in else usual(value)
        )
        properties = commands.Basic.Properties()
        setattr(properties, it.name, it.stand_in)
        return properties

    return write


@pytest.mark.parametrize("case", WRITTEN)
async def test_whatever_stands_beside_a_body_it_is_handed_out_and_so_are_its_neighbours(
    case: str, rabbitmq_url: str, write: Callable[[Written], commands.Basic.Properties]
) -> None:
    address = parse_address(f"{rabbitmq_url}?queue=links.{uuid4().hex[:8]}")
    publisher, letters = open_publisher(address), open_dead_letters(address)
    await publisher.open()
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection, open_queue(address, lease=30.0) as queue:
        await publisher.publish([("before", b"1")])
        channel = await (await connection.channel()).get_underlay_channel()
        await channel.basic_publish(b"2", routing_key=address.name, properties=write(WRITTEN[case]))
        await publisher.publish([("after", b"3")])

        found: list[Message] = []
        while len(found) < 3:
            found += await queue.receive(3, 10.0)
        assert [message.body for message in found] == [b"1", b"2", b"3"]
        assert [message.deliveries for message in found] == [1, 1, 1]

        # Its copies are written anew, here and when it is put back.
        await queue.release(found[1].handle, 0.1)
        (again,) = await queue.receive(1, 10.0)
        assert (again.identity, again.body, again.deliveries) == (found[1].identity, b"2", 2)
        await queue.dead(again.handle, _FAILURE)
        await letters.open()
        (letter,) = await letters.letters(5)
        assert (letter.identity, letter.body, letter.failure) == (found[1].identity, b"2", _FAILURE)
        assert await letters.requeue(5) == 1
        (back,) = await queue.receive(1, 10.0)
        assert (back.identity, back.body, back.deliveries) == (found[1].identity, b"2", 1)
        await queue.ack([message.handle for message in (found[0], back, found[2])])
        assert await queue.is_drained()
    await letters.close()
    await publisher.close()


async def test_a_dead_letter_with_the_headers_of_others_can_be_looked_at(rabbitmq_url: str) -> None:
    address = parse_address(f"{rabbitmq_url}?queue=links.{uuid4().hex[:8]}")
    publisher, letters = open_publisher(address), open_dead_letters(address)
    await publisher.open()
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        theirs = dict.fromkeys(("reason", "attempts", "deliveries", "http_status", "dead_at"), "some")
        foreign = aio_pika.Message(b"1", message_id="a", headers=dict(theirs))
        await channel.default_exchange.publish(foreign, address.dead_name)
    await letters.open()
    (letter,) = await letters.letters(5)
    assert (letter.identity, letter.body, letter.failure) == ("a", b"1", Failure("some", ""))
    assert (letter.deliveries, letter.dead_at) == (0, 0.0)
    await letters.close()
    await publisher.close()
