"""A live page that follows on another, and how its end is told."""

import asyncio
import socket

import pytest

from worker.dashboard.about import Door, Page
from worker.errors import OutageError, UsageError
from worker.run.page import live_page
from worker.tally import LinkTally


def page(port: int, token: str = "") -> Page:
    return Page("one", "pairs.csv", "https://portal.example", Door("127.0.0.1", port, token))


async def test_one_that_follows_where_somebody_else_listens_by_now_is_done_without() -> None:
    """What is removed next is decided, and on disk: a page is no reason to leave it undone."""
    told: list[str] = []
    tally = LinkTally()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="already in use"):
            async with live_page(page(port), tally, told.append, lambda _: None):
                pytest.fail("it is not served")
        assert told == []
        async with live_page(page(port, "token"), tally, told.append, lambda _: None) as live:
            assert live is not None
            assert live.door is None
    why = "cannot listen on 127.0.0.1: address already in use"
    assert told == [f"the live page has ended: --dashboard-port {port}: {why}"]
    assert tally.live_page == ""


async def test_without_a_door_there_is_none() -> None:
    async with live_page(None, LinkTally(), lambda _: None, lambda _: None) as live:
        assert live is None


async def test_it_says_how_it_has_ended() -> None:
    async def ended(error: BaseException | None) -> str:
        live = None
        try:
            async with live_page(page(0), LinkTally(), lambda _: None, lambda _: None) as live:
                if error is not None:
                    raise error
        except (OutageError, asyncio.CancelledError):
            pass
        assert live is not None
        return live.ended

    assert await ended(None) == "all is done"
    assert await ended(OutageError("the portal has failed for 15m")) == "the portal has failed for 15m"
    assert await ended(asyncio.CancelledError()) == "stopped"
