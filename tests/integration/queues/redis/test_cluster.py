"""A queue in a Redis Cluster: all of its keys are on one node, whichever it is, and a node may go away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import pytest

from tests.brokers import RedisClusterNode, redis_cluster
from worker.errors import QueueError, QueueMissing, QueueUnavailable
from worker.queues import (
    Failure,
    Message,
    Queue,
    QueueAddress,
    open_dead_letters,
    open_publisher,
    open_queue,
    open_rate,
    parse_address,
    parse_rate_address,
)

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

_T = TypeVar("_T")

FAILURE = Failure("the portal says no", "rejected", 404, 3)
LEASE = 60.0


@pytest.fixture(scope="module")
def three() -> Iterator[list[RedisClusterNode]]:
    with redis_cluster(3) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def one() -> Iterator[list[RedisClusterNode]]:
    with redis_cluster(1) as nodes:
        yield nodes


def address_in(nodes: list[RedisClusterNode], name: str) -> QueueAddress:
    return parse_address(f"{nodes[0].url}?stream={name}")


async def take(queue: Queue, count: int) -> list[Message]:
    messages: list[Message] = []
    end = time.monotonic() + 10.0
    while len(messages) < count and time.monotonic() < end:
        messages += await queue.receive(count - len(messages), 0.5)
    return messages


async def publish(address: QueueAddress, count: int) -> None:
    publisher = open_publisher(address)
    await publisher.open()
    await publisher.publish([(f"m{number}", b"x") for number in range(count)])
    await publisher.close()


async def work_off(address: QueueAddress) -> None:
    """Everything that may become of a message."""
    await publish(address, 40)
    async with open_queue(address, lease=LEASE) as queue:
        messages = await take(queue, 40)
        assert [message.identity for message in messages] == [f"m{number}" for number in range(40)]
        await queue.ack([message.handle for message in messages[2:]])
        await queue.release(messages[0].handle, 0.3)
        await queue.dead(messages[1].handle, FAILURE)
        assert not await queue.is_drained()
        (again,) = await take(queue, 1)
        assert (again.identity, again.deliveries) == ("m0", 2)
        await queue.ack([again.handle])
        assert await queue.is_drained()
        letters = open_dead_letters(address)
        await letters.open()
        assert [letter.identity for letter in await letters.letters(10)] == ["m1"]
        assert await letters.requeue(10) == 1
        await letters.close()
        (back,) = await take(queue, 1)
        await queue.ack([back.handle])
        assert await queue.is_drained()


# Their slots are on the first, the second and the third node.
@pytest.mark.parametrize("name", ["links", "a", "b", "{links}", "crm:{links}.new"])
async def test_whatever_its_name_a_queue_works_in_a_cluster(three: list[RedisClusterNode], name: str) -> None:
    await work_off(address_in(three, name))


async def test_a_cluster_of_one_node_is_one_too(one: list[RedisClusterNode]) -> None:
    await work_off(address_in(one, f"links-{uuid4().hex}"))


async def test_in_a_cluster_the_other_keys_of_a_queue_are_where_its_stream_is(
    three: list[RedisClusterNode],
) -> None:
    address = address_in(three, f"links-{uuid4().hex}")
    await publish(address, 2)
    async with open_queue(address, lease=LEASE) as queue:
        first, second = await take(queue, 2)
        await queue.release(first.handle, 600.0)
        await queue.dead(second.handle, FAILURE)
    keys = [node.ask("KEYS", f"*{address.name}*").split() for node in three]
    assert sorted(map(len, keys)) == [0, 0, 3]
    assert {key for some in keys for key in some} == {
        address.name,
        f"{{{address.name}}}.delayed",
        f"{{{address.name}}}.dead",
    }


async def test_a_stream_that_is_not_there_is_named(three: list[RedisClusterNode]) -> None:
    with pytest.raises(QueueMissing, match="there is no stream nobody; 'bulklink publish' makes it"):
        await open_queue(address_in(three, "nobody"), lease=LEASE).open()


async def until_it_works(call: Callable[[], Awaitable[_T]]) -> _T:
    deadline = time.monotonic() + 30.0
    while True:
        try:
            return await call()
        except QueueUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


@asynccontextmanager
async def downtime(node: RedisClusterNode) -> AsyncIterator[None]:
    await asyncio.to_thread(node.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(node.start)


async def test_a_node_that_goes_away_is_waited_for_and_nothing_is_lost() -> None:
    with redis_cluster(3) as nodes:
        address = address_in(nodes, "links")  # which is on the second or third: the first is asked the way
        await publish(address, 5)
        (home,) = [node for node in nodes if "links" in node.ask("KEYS", "links")]
        async with open_queue(address, lease=LEASE) as queue:
            handles = [message.handle for message in await take(queue, 5)]
            async with downtime(home):
                with pytest.raises(QueueUnavailable):
                    await queue.ack(handles)
            await until_it_works(lambda: queue.ack(handles))
            assert await until_it_works(queue.is_drained)


async def test_a_cluster_that_is_all_away_is_unavailable_and_no_library_is_quoted() -> None:
    with redis_cluster(1) as nodes:
        address = address_in(nodes, "links")
        await publish(address, 1)
        async with open_queue(address, lease=LEASE) as queue:
            nodes[0].kill()
            for _ in range(3):
                with pytest.raises(QueueUnavailable) as caught:
                    await queue.receive(1, 0.0)
                assert "Redis Cluster" not in str(caught.value)
            nodes[0].start()


async def test_a_database_of_its_own_is_refused_for_a_cluster_has_one(one: list[RedisClusterNode]) -> None:
    address = parse_address(f"redis://127.0.0.1:{one[0].port}/3?stream=links")
    for openable in (open_publisher(address), open_queue(address, lease=LEASE)):
        with pytest.raises(QueueError, match="SELECT is not allowed in cluster mode") as caught:
            await openable.open()
        assert not isinstance(caught.value, QueueUnavailable)


async def test_processes_share_a_rate_in_a_cluster(three: list[RedisClusterNode]) -> None:
    # From whichever node they ask.
    rates = [open_rate(parse_rate_address(f"{node.url}?rate=shared", "portal")) for node in three]
    booked = []
    for rate in rates:
        await rate.open()
        booked.append(await rate.book(step=5.0, late=0.006, pause=0.0))
        await rate.close()
    assert booked[2] - booked[0] == pytest.approx(10.0, abs=2.0)


def test_publish_and_work_go_over_a_cluster(
    bulklink: "CommandLine", simulate: "Simulate", three: list[RedisClusterNode]
) -> None:
    portal = simulate("calm")
    queue = f"{three[0].url}?stream=orders"
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,2\n1,1000000\n")
    assert bulklink("publish", "pairs.csv", queue).returncode == 0
    report = bulklink.report("work", queue, "--portal", portal.url, "--drain")
    assert (report["counts"]["linked"], report["counts"]["rejected"]) == (2, 1)
    assert portal.links() == {(1, 1), (1, 2)}
    assert "not_found" in bulklink("dead", queue).stdout
