"""The portal as a context, its side routes, and as a process."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import aiohttp
import pytest

from worker.simulator import Latency, Portal, Scenario, serve

Ask = Callable[..., Coroutine[None, None, tuple[str, dict[str, str], bytes]]]

LINK = "/api/2.0/crm/opportunity/1/contact/"


async def test_the_books_can_be_read_over_the_wire_without_a_trace(portal: Portal, ask: Ask) -> None:
    for contact in (5, 6, 5):
        await ask(portal, "POST", f"{LINK}{contact}")

    async def book(path: str) -> object:
        return json.loads((await ask(portal, "GET", f"/_books{path}", token=None))[2])

    assert await book("") == portal.books.summary()
    assert await book("/links") == [[1, 5], [1, 6], [2, 7], [2, 9], [2, 15]]
    assert await book("/posts") == [[1, 5, 2]]
    assert await book("/arrivals") == portal.books.since_first()
    assert await book("/visits") == [list(visit) for visit in sorted(portal.books.visits)]
    assert portal.books.requests == 3
    assert (await ask(portal, "GET", "/_books/nothing"))[0][:3] == "404"


async def test_a_reset_starts_the_scenario_again(portal: Portal, ask: Ask) -> None:
    await ask(portal, "POST", f"{LINK}5")
    status, _, body = await ask(portal, "POST", "/_books/reset", token=None)

    assert (status, json.loads(body)["links"]) == ("200 OK", 3)
    assert portal.books.requests == 0


async def test_few_workers_make_a_crowd_wait(ask: Ask) -> None:
    scenario = Scenario(latency=Latency(seconds=0.05, workers=2))
    async with Portal(scenario) as portal:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(ask(portal, "POST", f"{LINK}{one}") for one in range(1, 7)))
        took = asyncio.get_running_loop().time() - began

    assert took >= 0.15
    assert portal.books.max_in_flight == 6


async def test_latency_has_its_jitter_and_its_slow_ones(ask: Ask) -> None:
    latency = Latency(seconds=0.01, jitter=0.01, slow_fraction=1.0, slow_seconds=0.1)
    async with Portal(Scenario(latency=latency)) as portal:
        began = asyncio.get_running_loop().time()
        await ask(portal, "POST", f"{LINK}1")

    assert asyncio.get_running_loop().time() - began >= 0.1


async def test_an_ordinary_client_reads_many_links_over_one_connection(portal: Portal) -> None:
    async with aiohttp.ClientSession(portal.url, headers={"Authorization": "demo-token"}) as session:
        for contact in range(1, 6):
            async with session.post(f"{LINK}{contact}") as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                assert (await answer.json())["response"]["id"] == contact

    assert [link for link in portal.books.links() if link[0] == 1] == [(1, one) for one in range(1, 6)]


async def test_a_hanging_request_does_not_keep_the_portal_from_closing(ask: Ask) -> None:
    async with Portal(Scenario.from_toml("[[faults]]\nkind = 'hang'")) as portal:
        hanging = asyncio.create_task(ask(portal, "POST", f"{LINK}1"))
        await asyncio.sleep(0.05)
        closing = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - closing < 2.0
    await asyncio.wait([hanging])
    hanging.exception()


async def test_serving_announces_its_url_and_stops_when_cancelled() -> None:
    announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(Scenario(), "127.0.0.1", 0, announced.set_result))
    async with aiohttp.ClientSession() as session, session.get(f"{await announced}/_books") as answer:
        assert answer.status == 200
    serving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await serving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_as_a_process_it_says_where_it_listens_and_leaves_in_peace(number: int, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[portal]\nlinked = [[3, 4]]")
    program = ("-m", "worker.simulator", "--port", "0", "--scenario", str(plan))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    said = (await process.stdout.readline()).decode().strip()
    url = said.removeprefix("listening on ")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/_books/links") as answer:
        assert await answer.json() == [[3, 4]]
    process.send_signal(number)
    rest, complaints = await process.communicate()

    assert said.startswith("listening on http://127.0.0.1:")
    assert (process.returncode, rest, complaints) == (0, b"", b"")


async def test_as_a_process_it_refuses_a_bad_plan_in_one_line(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("sead = 7")
    program = ("-m", "worker.simulator", "--scenario", str(plan))
    process = await asyncio.create_subprocess_exec(sys.executable, *program, stderr=asyncio.subprocess.PIPE)
    _, complaints = await process.communicate()

    assert process.returncode == 2
    assert b"unknown key 'sead'" in complaints.splitlines()[-1]
