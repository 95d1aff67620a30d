"""The book of turns on a real Redis: who shares it, what it survives, and runs that share a rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.brokers import RedisServer, free_port
from tests.conftest import ONE_BY_ONE
from worker.errors import QueueUnavailable
from worker.queues import open_rate, parse_rate_address
from worker.queues.redis.rate import RedisRate

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

STEP = 2.0
"""Between turns that are booked and not waited for: longer than a busy machine holds a booking up."""


@pytest.fixture
def url(redis_url: str) -> str:
    return f"{redis_url}?rate=test-{uuid4().hex}"


@pytest.fixture
async def rates(url: str) -> AsyncIterator[tuple[RedisRate, RedisRate]]:
    """Two processes, so to speak, that share a rate."""
    one, other = (open_rate(parse_rate_address(url, "portal")) for _ in range(2))
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


async def wait_for(rate: RedisRate, step: float = STEP, pause: float = 0.0) -> float:
    """How long until the next turn is due."""
    return await rate.book(step=step, late=0.006, pause=pause) - asyncio.get_running_loop().time()


async def due(rate: RedisRate) -> float:
    return await rate.book(step=STEP, late=0.006, pause=0.0)


async def test_whoever_books_turns_are_a_step_apart(rates: tuple[RedisRate, RedisRate]) -> None:
    one, other = rates
    first = await due(one)
    booked = [await due(rate) for rate in (other, one, one, other, other)]
    for number, at in enumerate(booked, 1):
        assert at - first == pytest.approx(number * STEP, abs=STEP / 2)


async def test_the_first_turn_and_one_after_a_while_are_due_at_once(
    rates: tuple[RedisRate, RedisRate],
) -> None:
    one, other = rates
    assert -STEP < await wait_for(one) < STEP / 2
    await asyncio.sleep(STEP + 0.2)
    assert -STEP < await wait_for(other) < STEP / 2


async def test_a_pause_of_one_is_a_pause_of_all(rates: tuple[RedisRate, RedisRate]) -> None:
    one, other = rates
    assert await wait_for(one, pause=30.0) == pytest.approx(30.0, abs=STEP / 2)
    assert await wait_for(other, pause=10.0) == pytest.approx(30.0 + STEP, abs=STEP / 2)


async def test_rates_of_other_names_are_others(redis_url: str) -> None:
    first, second = (open_rate(parse_rate_address(redis_url, f"{uuid4().hex}:8443")) for _ in range(2))
    for rate in (first, second):
        await rate.open()
        assert await wait_for(rate, 60.0) < 5.0
    for rate in (first, second):
        assert await wait_for(rate, 60.0) > 50.0
        await rate.close()


async def test_the_book_is_forgotten_when_nobody_uses_it(
    rates: tuple[RedisRate, RedisRate], url: str
) -> None:
    await rates[0].book(step=2.0, late=0.01, pause=5.0)
    async with Redis.from_url(url.partition("?")[0]) as client:
        left = await client.pttl(f"bulklink.rate.{url.partition('=')[2]}")
    assert 7_000 < left <= 8_001


async def test_a_clock_that_is_set_back_stops_nobody(rates: tuple[RedisRate, RedisRate], url: str) -> None:
    async with Redis.from_url(url.partition("?")[0]) as client:
        await client.set(f"bulklink.rate.{url.partition('=')[2]}", round((time.time() + 7_200) * 1e6))
    assert await wait_for(rates[0]) < 60.0


async def test_a_server_that_was_killed_is_unavailable_and_then_paces_again(
    redis_server: RedisServer,
) -> None:
    rate = open_rate(parse_rate_address(redis_server.url, "portal"))
    await rate.open()
    await due(rate)
    await asyncio.to_thread(redis_server.kill)
    with pytest.raises(QueueUnavailable):
        await due(rate)
    await asyncio.to_thread(redis_server.start)
    first = await due(rate)
    assert await due(rate) - first == pytest.approx(STEP, abs=STEP / 2)
    await rate.close()


def write_pairs(folder: "CommandLine", name: str, opportunity: int, count: int) -> None:
    rows = "".join(f"{opportunity},{n}\n" for n in range(1, count + 1))
    (folder.folder / name).write_text(f"opportunity_id,contact_id\n{rows}")


@pytest.mark.alone
def test_runs_that_share_a_rate_keep_to_it_together_and_use_it(
    bulklink: "CommandLine", simulate: "Simulate", url: str
) -> None:
    """What they do wrong they do each time; a busy machine holds requests up on their way now and then."""
    measured = []
    for attempt in range(3):
        portal = simulate("[latency]\nseconds = 0.02\n")
        with ExitStack() as stack:
            runs = []
            for number in (1, 2, 3):
                write_pairs(bulklink, f"{number}.csv", number, 80)
                words = ("run", f"{number}.csv", "--portal", portal.url, "--rate", "40/s", *ONE_BY_ONE)
                run_id = ("--run-id", f"r{attempt}.{number}")
                runs.append(stack.enter_context(bulklink.start(*words, *run_id, BULKLINK_SHARED_RATE=url)))
            ended = [(run.communicate(timeout=60)[1], run.returncode) for run in runs]
        assert [code for _, code in ended] == [0, 0, 0], ended
        assert len(portal.links()) == 240
        arrivals: list[float] = portal.books("/arrivals")
        assert len(arrivals) == 240
        most = max(sum(begin <= at < begin + 1.0 for at in arrivals) for begin in arrivals)
        measured.append((most, (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])))
        if most <= 40 and 0.9 * 40 <= measured[-1][1] <= 40:
            return
    pytest.fail(f"(most in a second, requests/s): {measured}")


def test_while_the_shared_rate_cannot_be_reached_nothing_is_sent(
    bulklink: "CommandLine", simulate: "Simulate", redis_server: RedisServer
) -> None:
    portal = simulate("calm")
    write_pairs(bulklink, "pairs.csv", 1, 60)
    words = ("run", "pairs.csv", "--portal", portal.url, "--rate", "20/s", "--shared-rate", redis_server.url)
    with bulklink.start(*words, "--progress", "plain") as run:
        while portal.books()["posts"] < 10:
            time.sleep(0.02)
        redis_server.kill()
        time.sleep(0.5)
        before = portal.books()["posts"]
        time.sleep(1.5)
        assert portal.books()["posts"] == before
        redis_server.start()
        _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "trying again" in err
    assert (portal.books()["posts"], len(portal.links())) == (60, 60)


def test_a_shared_rate_that_is_not_there_is_one_line_and_no_run_is_left(
    bulklink: "CommandLine", simulate: "Simulate"
) -> None:
    portal = simulate("calm")
    write_pairs(bulklink, "pairs.csv", 1, 5)
    url = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
    done = bulklink("run", "pairs.csv", "-q", "--portal", portal.url, BULKLINK_SHARED_RATE=url)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 6
    where = url.partition("@")[2].removesuffix("/0")
    assert line == f"bulklink: shared rate: no broker at {where} (connection refused); nothing was sent"
    assert "s3cret" not in line
    assert portal.books()["requests"] == 0
    assert not list(bulklink.folder.glob("runs/[!.]*"))


def test_a_run_that_shared_its_rate_is_not_resumed_without(
    bulklink: "CommandLine", simulate: "Simulate", url: str
) -> None:
    portal = simulate("calm")
    write_pairs(bulklink, "pairs.csv", 1, 200)
    words = (
        "run",
        "pairs.csv",
        "--portal",
        portal.url,
        "--rate",
        "50/s",
        "--max-duration",
        "1s",
        *ONE_BY_ONE,
    )
    assert bulklink(*words, "--run-id", "one", "--shared-rate", url).returncode == 10
    alone = bulklink("resume", "one")
    assert alone.returncode == 2
    assert "shares its rate through redis://" in alone.stderr
    assert bulklink("resume", "one", "--rate", "500/s", BULKLINK_SHARED_RATE=url).returncode == 0
    assert len(portal.links()) == 200


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nats://localhost:4222", "not like redis://HOST:6379/0"),
        ("redis://localhost:6379/0?stream=x", "no such parameter: 'stream'; it takes rate"),
        ("redis://localhost:6379/0?rate=a%20b", "'a b' is no name"),
        ("redis://localhost:port/0", "a port that is no number"),
    ],
)
def test_a_wrong_url_is_a_usage_error(bulklink: "CommandLine", url: str, said: str) -> None:
    write_pairs(bulklink, "pairs.csv", 1, 5)
    done = bulklink("run", "pairs.csv", "--portal", "http://127.0.0.1:1", "--shared-rate", url)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(bulklink.folder.glob("runs/[!.]*"))
