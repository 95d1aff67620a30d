"""What a worker says of entries that it is never handed, that are gone, or that no worker could ever have."""

import asyncio
import re
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from worker.errors import QueueError, QueueUnavailable
from worker.queues import Failure, Message, Queue, QueueAddress, open_publisher, open_queue, parse_address

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

LEASE = 1.0
LONG = 60.0
FAILURE = Failure("the portal says no", "rejected", 404, 3)


@pytest.fixture
def address(redis_url: str) -> QueueAddress:
    return parse_address(f"{redis_url}?stream=links-{uuid4().hex}")


@pytest.fixture
async def client(address: QueueAddress) -> AsyncIterator[Redis]:
    async with Redis.from_url(address.server, protocol=2) as client:
        yield client


async def add(client: Redis, name: str, first: int, last: int) -> list[str]:
    bodies = [f'{{"opportunity_id":1,"contact_id":{n}}}' for n in range(first, last + 1)]
    entries: list[bytes] = [await client.xadd(name, {"body": body}) for body in bodies]  # type: ignore[misc]  # it decodes nothing
    return [entry.decode() for entry in entries]


async def take(queue: Queue, count: int, within: float = 10.0) -> list[Message]:
    messages: list[Message] = []
    end = time.monotonic() + within
    while len(messages) < count and time.monotonic() < end:
        messages += await queue.receive(count - len(messages), 0.2)
    return messages


async def test_entries_before_the_group_are_counted_at_once_and_again_when_all_else_is_done(
    client: Redis, address: QueueAddress
) -> None:
    await add(client, address.name, 1, 1_203)
    await client.xgroup_create(address.name, address.group, id="$")
    await add(client, address.name, 1_204, 1_206)
    async with open_queue(address, lease=LONG) as queue, open_queue(address, lease=LONG) as other:
        messages = await take(queue, 3)
        (said,) = queue.warnings
        assert f"{address.shown}: 1,203 entries came before the group bulklink" in said
        await queue.ack([message.handle for message in messages[:2]])
        await add(client, address.name, 1_207, 1_207)
        # What waits and what is held is neither outside nor drained.
        assert not await other.is_drained()
        messages += await take(other, 1)
        await other.ack([messages[-1].handle])
        await queue.ack([messages[2].handle])
        assert await queue.is_drained()
        assert queue.warnings == (said,)
    assert queue.warnings == (said,)


async def test_what_is_advised_for_entries_before_the_group_takes_them_in(
    client: Redis, address: QueueAddress
) -> None:
    await add(client, address.name, 1, 3)
    await client.xgroup_create(address.name, address.group, id="$")
    async with open_queue(address, lease=LONG) as queue:
        assert await take(queue, 1, within=0.5) == []
        (said,) = queue.warnings
        advice = re.search(r"to take them in: (.*)", said)
        assert advice is not None
        command = shlex.split(advice[1])
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        assert done.stdout == b"OK\n"
        messages = await take(queue, 3)
        assert len(messages) == 3
        await queue.ack([message.handle for message in messages])
        assert await queue.is_drained()
        assert queue.warnings == ()


async def test_a_group_of_ours_has_nothing_before_it(client: Redis, address: QueueAddress) -> None:
    await add(client, address.name, 1, 700)
    async with open_queue(address, lease=LONG) as queue:
        held = await take(queue, 600)
        async with open_queue(address, lease=LONG) as other:  # which comes while much is held and much waits
            assert other.warnings == ()
        await queue.release(held[0].handle, 0.0)
        await queue.ack([message.handle for message in held[1:]])
        assert queue.warnings == ()


async def test_entries_trimmed_away_while_a_dead_worker_held_them_are_counted_and_named(
    client: Redis, address: QueueAddress
) -> None:
    entries = await add(client, address.name, 1, 15)
    await client.xgroup_create(address.name, address.group, id="0")
    await client.xreadgroup(address.group, "dead", {address.name: ">"}, count=12)
    await client.xtrim(address.name, maxlen=3, approximate=False)
    async with open_queue(address, lease=LEASE) as queue:
        messages = await take(queue, 3)
        await queue.ack([message.handle for message in messages])
        await asyncio.sleep(LEASE)
        assert await take(queue, 1, within=1.5) == []
        (said,) = queue.warnings
        assert (
            f"{address.shown}: 12 entries trimmed away before they were done, and lost: {entries[0]}, "
            in said
        )
        assert entries[9] in said
        assert entries[10] not in said
        assert await queue.is_drained()
    assert queue.warnings == (said,)


async def test_an_entry_trimmed_away_while_we_work_on_it_is_put_back_and_not_lost(
    client: Redis, address: QueueAddress
) -> None:
    await add(client, address.name, 1, 2)
    async with open_queue(address, lease=LEASE) as queue:
        first, second = await take(queue, 2)
        await client.xtrim(address.name, maxlen=0, approximate=False)
        (again, other) = await take(queue, 2)
        assert {again.identity, other.identity} == {first.identity, second.identity}
        assert (again.deliveries, other.deliveries) == (2, 2)
        await queue.ack([first.handle])  # of a delivery that is over
        await queue.ack([again.handle, other.handle])
        assert await queue.is_drained()
        assert queue.warnings == ()


@pytest.mark.parametrize("what", ["ack", "release", "dead"])
async def test_what_becomes_of_an_entry_that_was_just_trimmed_away_is_as_if_it_were_there(
    client: Redis, address: QueueAddress, what: str
) -> None:
    await add(client, address.name, 1, 1)
    async with open_queue(address, lease=LONG) as queue:
        (message,) = await take(queue, 1)
        await client.xtrim(address.name, maxlen=0, approximate=False)
        if what == "ack":
            await queue.ack([message.handle])
        elif what == "dead":
            await queue.dead(message.handle, FAILURE)
            assert await client.xlen(f"{address.name}.dead") == 1
        else:
            await queue.release(message.handle, 0.0)
            (again,) = await take(queue, 1)
            assert again.body == message.body
            await queue.ack([again.handle])
        assert await queue.is_drained()


def test_a_drained_queue_that_holds_more_than_its_group_sees_is_told_of_and_is_exit_5(
    bulklink: "CommandLine", simulate: "Simulate", redis_url: str
) -> None:
    portal = simulate("calm")
    name = f"links-{uuid4().hex}"
    queue = f"{redis_url}?stream={name}"

    async def prepare() -> None:
        async with Redis.from_url(redis_url, protocol=2) as client:
            await add(client, name, 1, 2)
            await client.xgroup_create(name, "bulklink", id="$")
            await add(client, name, 3, 3)

    asyncio.run(prepare())
    done = bulklink("work", queue, "--portal", portal.url, "--drain", "--run-id", "one")
    assert done.returncode == 5
    assert "2 entries came before the group bulklink, for no worker to be handed" in done.stderr
    assert portal.links() == {(1, 3)}
    (advice,) = set(re.findall(r"redis-cli -u \S+ XGROUP SETID \S+ bulklink 0", done.stderr))
    subprocess.run(shlex.split(advice), capture_output=True, check=True)
    assert bulklink.report("work", queue, "--portal", portal.url, "--drain", "-q")["exit_code"] == 0
    assert portal.links() == {(1, 1), (1, 2), (1, 3)}


@asynccontextmanager
async def server_that_says(**answers: bytes) -> AsyncIterator[str]:
    """URL of one that looks like Redis; it says the given, in its protocol, to commands of these names."""
    fine = {b"PING": b"+PONG\r\n", b"HELLO": answers.get("hello", b"-ERR unknown command\r\n")}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            name = words[0].upper()
            said = answers.get(name.decode().lower(), fine.get(name, b"+OK\r\n"))
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


HELLO = b"*4\r\n$7\r\nversion\r\n$%d\r\n%b\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"


@pytest.mark.parametrize(("version", "is_refused"), [(b"6.2.14", True), (b"7.0.0", False), (b"10.1", False)])
async def test_a_server_that_is_too_old_is_refused_before_anything_is_published(
    version: bytes, *, is_refused: bool
) -> None:
    async with server_that_says(hello=HELLO % (len(version), version)) as url:
        address = parse_address(f"{url}?stream=links")
        publisher = open_publisher(address)
        if is_refused:
            for openable in (publisher, open_queue(address, lease=LONG)):
                with pytest.raises(QueueError, match=r"Redis 6\.2\.14 is too old; 7\.0 or newer is needed"):
                    await openable.open()
        else:
            await publisher.open()
        await publisher.close()


@pytest.mark.parametrize(
    ("name", "advice"),
    [("links", "; a name in braces may help: stream={links}"), ("{links}", "")],
)
async def test_publish_refuses_where_no_worker_could_work(name: str, advice: str) -> None:
    """A proxy before a cluster, say, that looks like one server and takes no script with several keys."""
    async with server_that_says(evalsha=b"-CROSSSLOT Keys in request don't hash to the same slot\r\n") as url:
        address = parse_address(f"{url}?stream={name}")
        publisher = open_publisher(address)
        with pytest.raises(QueueError) as caught:
            await publisher.open()
        assert not isinstance(caught.value, QueueUnavailable)
        assert str(caught.value).endswith(f"; no worker could work on this stream{advice}")
        results = open_publisher(address, for_work=False)  # nobody works on those
        await results.open()
        await results.close()


async def test_whoever_may_only_publish_does_so() -> None:
    async with server_that_says(evalsha=b"-NOPERM this user has no permissions\r\n") as url:
        publisher = open_publisher(parse_address(f"{url}?stream=links"))
        await publisher.open()
        await publisher.close()
