"""A session with a live page, in this process: what its buttons say is done, and it ends with the session."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from tests.unit.run.test_session import ONE_BY_ONE, do, how_it_ended, told
from worker.dashboard.about import Door, Page
from worker.errors import Exit, UsageError
from worker.models import Status
from worker.run import run
from worker.run.lifetime import Stop
from worker.run.live import Live
from worker.run.session import Session
from worker.simulator import Portal, Scenario
from worker.tally import RunTally

PAIRS = 40
PAGE = Page("one", "pairs.csv", "https://portal.example", Door("127.0.0.1", 0))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("opportunity_id,contact_id\n" + "".join(f"{n},7\n" for n in range(1, PAIRS + 1)))
    return path


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not is_so():  # noqa: ASYNC110 - it waits for what another does
            await asyncio.sleep(0.01)


async def press(session: Session, what: str, body: str = "") -> tuple[int, str]:
    address, _, token = session.tally.live_page.partition("#")
    headers = {"X-Bulklink-Token": token}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{address}{what}", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_session_is_paused_slowed_down_and_resumed_and_loses_nothing(
    pairs: Path, tmp_path: Path
) -> None:
    async with Portal(Scenario()) as portal:
        settings = told(portal, tmp_path, dashboard_port="0", rate="40/s", concurrency=2, **ONE_BY_ONE)
        session = run.start(settings, str(pairs), lambda: settings)
        working = asyncio.create_task(do(session, Stop()))
        await until(lambda: session.tally.settled[Status.LINKED] > 2)

        assert await press(session, "pause") == (
            200,
            "paused from the live page: nothing is sent until it is resumed there\n",
        )
        await until(lambda: session.tally.in_flight == 0 and session.tally.held)
        links = len(portal.books.links())
        await asyncio.sleep(0.3)
        assert len(portal.books.links()) == links < PAIRS

        assert await press(session, "rate", "100/s") == (
            422,
            "100/s is more than 40/s, which the run was told not to pass\n",
        )
        assert (await press(session, "rate", "soon"))[0] == 422
        assert await press(session, "rate", "30/s") == (200, "rate changed from the live page: 30/s\n")
        assert await press(session, "resume") == (200, "resumed from the live page\n")
        await working
        assert len(portal.books.links()) == PAIRS
        assert how_it_ended(session) == (Exit.OK, "")
        with pytest.raises(aiohttp.ClientConnectionError):
            await press(session, "pause")
    assert "token" not in (session.directory.path / "run.log").read_text()


async def test_a_paused_session_that_is_asked_to_stop_stops_at_once(pairs: Path, tmp_path: Path) -> None:
    async with Portal(Scenario()) as portal:
        settings = told(portal, tmp_path, dashboard_port="0", rate="40/s", concurrency=2, **ONE_BY_ONE)
        session = run.start(settings, str(pairs), lambda: settings)
        stop = Stop()
        working = asyncio.create_task(do(session, stop))
        await until(lambda: session.tally.settled[Status.LINKED] > 2)
        await press(session, "pause")
        await until(lambda: session.tally.in_flight == 0)
        began = asyncio.get_running_loop().time()
        stop.ask("the caller", Exit.SIGINT)
        await working
        assert asyncio.get_running_loop().time() - began < 3.0
        assert how_it_ended(session) == (Exit.SIGINT, "stopped by the caller")


async def test_a_session_with_viewers_ends_when_its_work_does_and_leaves_no_task(
    pairs: Path, tmp_path: Path
) -> None:
    async with Portal(Scenario()) as portal, aiohttp.ClientSession() as client:
        settings = told(portal, tmp_path, dashboard_port="0", rate="40/s", concurrency=2, **ONE_BY_ONE)
        session = run.start(settings, str(pairs), lambda: settings)
        before = asyncio.all_tasks()
        working = asyncio.create_task(do(session, Stop()))
        await until(lambda: bool(session.tally.live_page))
        address = session.tally.live_page.partition("#")[0]
        answers = [await client.get(f"{address}events") for _ in range(5)]
        await working
        for answer in answers:
            text = await answer.text()
            assert text.endswith("event: end\ndata: {}\n\n")
            assert "It has ended: all is done." in text
        await asyncio.sleep(0.01)
        assert {one for one in asyncio.all_tasks() - before if "portal" not in repr(one).lower()} == set()


async def test_where_nobody_can_listen_no_run_begins(pairs: Path, tmp_path: Path) -> None:
    async with Portal(Scenario()) as portal:
        port = portal.url.rpartition(":")[2]
        settings = told(portal, tmp_path, dashboard_port=port)
        session = run.start(settings, str(pairs), lambda: settings)
        with pytest.raises(UsageError, match=f"--dashboard-port {port}: .*address already in use"):
            await do(session, Stop())
        assert session.leaves_nothing
        assert not portal.books.requests
        session.directory.discard()


async def test_what_a_button_did_is_said_beside_it_and_what_else_is_told_in_the_page() -> None:
    tally = RunTally()

    class Site:
        def pause(self) -> None:
            pass

    def tell(text: str) -> None:
        tally.note = text

    live = Live(PAGE, tally, tell)
    tell("the portal fails: asking again in 4 s")
    assert live.look().note == "the portal fails: asking again in 4 s"
    live.site = cast("Any", Site())
    said = live.pause()
    assert tally.note == said
    live.site = None
    assert live.look().note == ""


async def test_before_it_sends_and_after_its_end_there_is_nothing_to_steer() -> None:
    live = Live(PAGE, RunTally(), lambda _: None)

    assert (live.look().stated, live.look().limit, live.look().begun) == ("", 0, False)
    for button in (live.pause, live.resume, lambda: live.slow_to("1/s")):
        with suppress(ValueError):
            button()
            pytest.fail("it was steered")
