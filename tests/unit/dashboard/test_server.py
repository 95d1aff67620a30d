"""The live page over a real socket: who is served, what the buttons do, and that nothing is left of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.unit.dashboard.seen import view
from worker.dashboard import server as served
from worker.dashboard.about import Door
from worker.dashboard.server import LivePage
from worker.dashboard.view import View, parts_of
from worker.errors import UsageError
from worker.ledger import Sample

HERE = Door("127.0.0.1", 0)


class Run:
    """A run that is steered."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.rows = 0

    def look(self) -> View:
        self.rows += 1
        return view(seconds=float(self.rows), total=5000 + self.rows)

    def pause(self) -> str:
        self.done.append("pause")
        return "paused"

    def resume(self) -> str:
        self.done.append("resume")
        return "resumed"

    def slow_to(self, rate: str) -> str:
        if rate == "fast":
            raise ValueError("'fast' is not a rate")
        self.done.append(rate)
        return f"now {rate}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "TICK", 0.02)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Run, str, str, aiohttp.ClientSession]]:
    run = Run()
    async with LivePage(HERE, run.look, run) as page, aiohttp.ClientSession() as session:
        address, _, token = page.address.partition("#")
        yield run, address, token, session


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    name = ""
    async for line in answer.content:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


async def test_the_page_comes_with_what_it_needs_and_a_policy_that_lets_nothing_else_in() -> None:
    async with opened() as (_, address, token, session):
        for name, kind in (("", "text/html"), ("page.css", "text/css"), ("live.js", "text/javascript")):
            async with session.get(f"{address}{name}") as answer:
                assert answer.status == 200
                assert answer.content_type == kind
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
                assert token not in await answer.text()


async def test_a_viewer_is_sent_everything_then_what_changes() -> None:
    async with opened() as (_, address, _, session), session.get(f"{address}events") as answer:
        assert answer.content_type == "text/event-stream"
        stream = events(answer)
        name, parts = await anext(stream)
        assert (name, set(parts)) == ("parts", {"now", "states", "causes", "pace"})
        _, parts = await anext(stream)
        assert "now" in parts
        assert "causes" not in parts


async def test_what_many_look_at_is_made_once_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "TICK", 0.2)
    made: list[float] = []

    def noted(view: View, samples: Sequence[Sample]) -> dict[str, str]:
        made.append(view.seconds)
        return parts_of(view, samples)

    monkeypatch.setattr(served, "parts_of", noted)
    async with opened() as (_, address, _, session), AsyncExitStack() as stack:
        began = asyncio.get_running_loop().time()
        streams = []
        for _ in range(20):
            async with session.get(address) as page:
                assert page.status == 200
            streams.append(events(await stack.enter_async_context(session.get(f"{address}events"))))
        for _ in range(4):
            assert {(await anext(stream))[0] for stream in streams} == {"parts"}
        ticks = (asyncio.get_running_loop().time() - began) / 0.2
        # At each tick, and between two of them at most once more, for those who come.
        assert len(made) <= 2 * ticks + 2


@pytest.mark.parametrize("goes_on", ["", "Next, links are removed."])
async def test_viewers_are_told_of_the_end_unless_another_page_follows_at_the_same_address(
    goes_on: str,
) -> None:
    run = Run()
    async with aiohttp.ClientSession() as session:
        async with LivePage(HERE, lambda: view(goes_on=goes_on), run) as page:
            answer = await session.get(f"{page.address.partition('#')[0]}events")
        names = [name async for name, _ in events(answer)]
        assert ("end" in names) == (not goes_on)
        async with LivePage(page.door, run.look, run) as after:
            assert after.address == page.address


@pytest.mark.parametrize(
    ("what", "body", "said"),
    [("pause", "", "paused\n"), ("resume", "", "resumed\n"), ("rate", "5/s", "now 5/s\n")],
)
async def test_whoever_has_the_token_may_steer(what: str, body: str, said: str) -> None:
    async with opened() as (run, address, token, session):
        headers = {"X-Bulklink-Token": token, "Origin": address.rstrip("/")}
        async with session.post(f"{address}{what}", data=body, headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, said)
        assert run.done == [body or what]


@pytest.mark.parametrize("what", ["pause", "resume", "rate", "anything"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Bulklink-Token": "guessed"},
        {"X-Bulklink-Token": "TOKEN", "Origin": "http://evil.example"},
        {"X-Bulklink-Token": "TOKEN", "Host": "evil.example"},
    ],
)
async def test_nobody_else_may(what: str, headers: dict[str, str]) -> None:
    async with opened() as (run, address, token, session):
        sent = {name: value.replace("TOKEN", token) for name, value in headers.items()}
        async with session.post(f"{address}{what}", data="1/s", headers=sent) as answer:
            assert answer.status == 403
        assert run.done == []


async def test_a_page_of_somebody_else_whose_name_points_here_learns_nothing() -> None:
    async with opened() as (_, address, _, session):
        for name in ("", "events", "live.js"):
            async with session.get(f"{address}{name}", headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403
                assert "portal" not in await answer.text()


async def test_what_cannot_be_is_refused_with_the_reason() -> None:
    async with opened() as (_, address, token, session):
        headers = {"X-Bulklink-Token": token}
        async with session.post(f"{address}rate", data="fast", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (422, "'fast' is not a rate\n")
        async with session.post(f"{address}rate", data="x" * 10_000, headers=headers) as answer:
            assert answer.status == 413
        async with session.get(f"{address}pause") as answer:
            assert answer.status == 405
        async with session.get(f"{address}nothing") as answer:
            assert answer.status == 404


async def test_at_the_end_viewers_are_told_and_nothing_is_left() -> None:
    before = asyncio.all_tasks()
    run = Run()
    async with aiohttp.ClientSession() as session:
        async with LivePage(HERE, run.look, run) as page:
            answers = [await session.get(f"{page.address.partition('#')[0]}events") for _ in range(50)]
            for answer in answers[25:]:
                answer.close()  # who leaves while it goes on
        for answer in answers[:25]:
            names = [name async for name, _ in events(answer)]
            assert names[-1] == "end"
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before


async def test_a_viewer_that_reads_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_GOODBYE", 0.1)
    clock = asyncio.get_running_loop().time
    run = Run()
    async with LivePage(HERE, run.look, run) as page:
        _, _, port = page.address.partition("#")[0].rstrip("/").rpartition(":")
        with socket.create_connection(("127.0.0.1", int(port))) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(0.3)
            began = clock()
    assert clock() - began < 2.0


async def test_there_is_an_end_to_how_many_may_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MOST_VIEWERS", 1)
    async with opened() as (_, address, _, session), session.get(f"{address}events") as first:
        await anext(events(first))
        async with session.get(f"{address}events") as second:
            assert second.status == 503


async def test_a_port_that_is_in_use_is_named() -> None:
    run = Run()
    async with LivePage(HERE, run.look, run) as page:
        port = int(page.address.partition("#")[0].rstrip("/").rpartition(":")[2])
        with pytest.raises(UsageError) as refused:
            await LivePage(Door("127.0.0.1", port), run.look, run).__aenter__()
    assert (
        str(refused.value) == f"--dashboard-port {port}: cannot listen on 127.0.0.1: address already in use"
    )


async def test_a_host_that_is_none_is_named() -> None:
    run = Run()
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1: cannot assign requested address"):
        await LivePage(Door("192.0.2.1", 0), run.look, run).__aenter__()


async def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    run = Run()
    async with LivePage(Door("::1", 0), run.look, run) as page:
        assert page.address.startswith("http://[::1]:")
