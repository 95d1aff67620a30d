"""Connections to a broker that break: reset at any byte, or silent for ever. Nothing is lost, or left lying.

Between the commands and a real broker stands a proxy; the portal's books and the queue itself, asked without
the proxy, say what has become of the messages.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.conftest import ONE_BY_ONE
from tests.proxy import Proxy
from worker.queues import open_dead_letters, open_publisher, open_queue, parse_address

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

MESSAGES = 300
POISON = {f"m{number}" for number in range(7, MESSAGES, 50)}
NOBODY = {f"m{number}" for number in range(9, MESSAGES, 50)}
PAIRS = {
    (number // 20 + 1, number % 20 + 1) for number in range(MESSAGES) if f"m{number}" not in POISON | NOBODY
}
SLOW = "[latency]\nseconds = 0.1\n"
PARAMETER = {"redis": "stream", "rabbitmq": "queue", "nats": "stream"}


def messages() -> list[tuple[str, bytes]]:
    """Each pair once; a few messages that are no pair, and a few about contacts that are not there."""
    bodies = []
    for number in range(MESSAGES):
        identity = f"m{number}"
        contact = number % 20 + 1 if identity not in NOBODY else 1_000_000 + number
        body = json.dumps({"opportunity_id": number // 20 + 1, "contact_id": contact}).encode()
        bodies.append((identity, b"[" if identity in POISON else body))
    return bodies


@dataclass(frozen=True, slots=True)
class Bench:
    """A broker behind a proxy, and a queue on it.

    Attributes:
        direct: URL of the queue without the proxy.
        indirect: URL of the same through it.
    """

    proxy: Proxy
    direct: str
    indirect: str

    async def fill(self) -> None:
        publisher = open_publisher(parse_address(self.direct))
        await publisher.open()
        await publisher.publish(messages())
        await publisher.close()

    async def is_drained(self) -> bool:
        """Whether the queue is empty, and nothing is held by anybody or delayed."""
        async with open_queue(parse_address(self.direct), lease=1.0) as queue:
            return await queue.is_drained() and await queue.receive(10, 2.0) == []

    async def dead(self) -> Counter[str]:
        letters = open_dead_letters(parse_address(self.direct))
        await letters.open()
        try:
            return Counter(letter.identity for letter in await letters.letters(1_000))
        finally:
            await letters.close()


@asynccontextmanager
async def bench_at(server: str, broker: str) -> AsyncIterator[Bench]:
    query = f"?{PARAMETER[broker]}=cut-{uuid4().hex}"
    async with Proxy(server) as proxy:
        yield Bench(proxy, server + query, proxy.url + query)


@pytest.fixture(params=["redis", "rabbitmq", "nats"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench_at(request.getfixturevalue(f"{request.param}_url"), request.param) as bench:
        yield bench


@asynccontextmanager
async def started(bulklink: "CommandLine", *words: str, queue: str) -> "AsyncIterator[Running]":
    """A command that runs meanwhile, and is gone afterwards."""
    with bulklink.start(*words, "--json", BULKLINK_QUEUE_URL=queue) as process:
        running = Running(process)
        try:
            yield running
        except BaseException as error:
            process.kill()
            error.add_note("it said:\n" + "\n".join(await running.output))
            raise
        finally:
            process.kill()
            await running.output


class Running:
    """A command on its way; its output is read, or it might stop."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.output = asyncio.create_task(asyncio.to_thread(process.communicate))

    @property
    def is_over(self) -> bool:
        return self.output.done()

    async def report(self) -> dict[str, Any]:
        """What it says on standard output at its end."""
        out, err = await asyncio.wait_for(asyncio.shield(self.output), 120)
        assert "Traceback" not in err, err
        assert out, err
        report: dict[str, Any] = json.loads(out)
        assert report["exit_code"] == self._process.returncode, err
        return report


def work(portal: "SimulatedPortal") -> tuple[str, ...]:
    limits = ("--rate", "1000/s", "--concurrency", "4", "--lease", "2s", "--run-id", "one")
    return "work", "--drain", "--portal", portal.url, *limits, *ONE_BY_ONE


async def assert_all_is_done(
    report: dict[str, Any], bulklink: "CommandLine", portal: "SimulatedPortal", bench: Bench
) -> None:
    """Each pair linked by one POST, each other message a dead letter, and nobody holds anything."""
    counts = {state: n for state, n in report["counts"].items() if n}
    rejected, invalid = len(NOBODY), len(POISON)
    assert counts == {"rows": MESSAGES, "linked": len(PAIRS), "rejected": rejected, "invalid": invalid}
    assert report["exit_code"] == 3
    assert portal.links() == PAIRS
    books = portal.books()
    assert (books["posts"], books["repeats"]) == (len(PAIRS) + rejected, 0)
    assert await bench.is_drained()
    # A connection that breaks between the letter and the acknowledgement may leave a letter twice.
    assert (await bench.dead()).keys() == POISON | NOBODY
    checked = await asyncio.to_thread(bulklink, "report", "one", "--check")
    assert checked.returncode == 0, checked.stderr


async def until(happened: Callable[[], bool], *, while_there_is: Running) -> None:
    """Wait for what a command brings about; it has two minutes, and may not end before."""
    async with asyncio.timeout(120):
        while not happened():
            assert not while_there_is.is_over
            await asyncio.sleep(0.02)


async def until_posted(portal: "SimulatedPortal", count: int, *, by: Running) -> None:
    await until(lambda: portal.books()["posts"] >= count, while_there_is=by)


@pytest.mark.long
@pytest.mark.timeout(480)  # longer than all that is waited for in it
async def test_work_goes_on_over_connections_that_are_torn_reset_and_refused(
    bench: Bench, bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(SLOW)
    await bench.fill()
    rng = Random(1)  # noqa: S311 - where and when to cut
    budgets = [rng.randrange(1, 8_000) for _ in range(6)]
    bench.proxy.budget = lambda: budgets.pop() if budgets else None
    async with started(bulklink, *work(portal), "--wait-for-broker", "60s", queue=bench.indirect) as worker:
        await until(lambda: not budgets, while_there_is=worker)
        await until_posted(portal, 1, by=worker)  # before, it waits a minute for the broker and no longer
        cut = 0
        while cut < 6:
            await asyncio.sleep(rng.uniform(0.05, 0.3))
            assert not worker.is_over
            cut += bench.proxy.cut()
        await until_posted(portal, 200, by=worker)
        bench.proxy.refuses = True
        bench.proxy.cut()  # if there is a connection just now
        await asyncio.sleep(2.5)  # longer than the lease of what it holds
        assert not worker.is_over
        bench.proxy.refuses = False
        report = await worker.report()
    await assert_all_is_done(report, bulklink, portal, bench)


@pytest.mark.long
@pytest.mark.timeout(480)  # longer than all that is waited for in it
@pytest.mark.parametrize(
    # RabbitMQ needs more than a minute to give a connection up; test_rabbitmq.py has a shorter form.
    "bench",
    ["redis", "nats", pytest.param("rabbitmq", marks=pytest.mark.slow)],
    indirect=True,
)
async def test_connections_that_fall_silent_are_given_up(
    bench: Bench, bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate(SLOW)
    await bench.fill()
    async with started(bulklink, *work(portal), queue=bench.indirect) as worker:
        await until_posted(portal, 50, by=worker)
        assert bench.proxy.hush()
        report = await worker.report()
    await assert_all_is_done(report, bulklink, portal, bench)


@pytest.mark.timeout(480)  # longer than all that is waited for in it
async def test_publish_over_connections_that_break_puts_every_message_on_the_queue(
    bench: Bench, bulklink: "CommandLine"
) -> None:
    rows = range(1, 2_001)
    (bulklink.folder / "pairs.csv").write_text(
        "opportunity_id,contact_id\n" + "".join(f"{n},1\n" for n in rows)
    )
    rng = Random(3)  # noqa: S311 - where to tear
    budgets = [rng.randrange(1, 100_000) for _ in range(4)]
    bench.proxy.budget = lambda: budgets.pop() if budgets else None
    words = ("publish", "pairs.csv", "--run-id", "put", "--wait-for-broker", "60s")
    async with started(bulklink, *words, queue=bench.indirect) as publisher:
        said = await publisher.report()
    assert not budgets
    assert (said["exit_code"], said["published"]) == (0, len(rows))
    found: Counter[str] = Counter()
    async with open_queue(parse_address(bench.direct), lease=60.0) as queue:
        while some := await queue.receive(1_000, 2.0):
            found.update(message.identity for message in some)
            await queue.ack([message.handle for message in some])
    assert found.keys() == {f"put-{n}" for n in rows}
