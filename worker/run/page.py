"""A live page for a piece of work: whether one is wanted, and how it comes to be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from worker.dashboard.about import Door, Page
from worker.errors import UsageError, WorkerError
from worker.ledger import LedgerReader
from worker.run.directory import RunDirectory
from worker.run.progress import show_now
from worker.settings import Settings
from worker.tally import LinkTally, RunTally

if TYPE_CHECKING:
    from worker.run.live import Live

_T = TypeVar("_T", RunTally, LinkTally)


def door_of(settings: Settings) -> Door | None:
    """Where the user wants a live page; None for nowhere."""
    if settings.dashboard_port is None:
        return None
    return Door(settings.dashboard_host, settings.dashboard_port)


def page_of(directory: RunDirectory, settings: Settings) -> Page | None:
    """The live page of what is done about a run; None if none is wanted."""
    door = door_of(settings)
    if door is None:
        return None
    with LedgerReader(directory.ledger) as reader:
        facts = reader.facts()
    return Page(directory.run_id, facts["input_name"], facts["portal"], door)


@asynccontextmanager
async def live_page(
    page: Page | None, tally: _T, tell: Callable[[str], None], show: Callable[[_T], None]
) -> AsyncIterator["Live | None"]:
    """Serve a live page within the block; None if none is wanted.

    Args:
        page: what it is about, and where.
        tally: what it shows; is told its address.
        tell: told what its buttons did, in words for the user.
        show: shows the tally.

    Raises:
        UsageError: nobody can listen there. One that follows on another is done without instead.
    """
    if page is None:
        yield None
        return
    from worker.run.live import Live  # noqa: PLC0415 - a server of its own is not needed else

    live = Live(page, tally, tell)
    async with AsyncExitStack() as stack:
        try:
            serving = await stack.enter_async_context(live.served())
        except UsageError as error:
            if not page.door.token:
                raise
            tell(f"the live page has ended: {error}")
        else:
            live.door = serving.door
            tally.live_page = serving.address
            show_now(tally, show)
        try:
            yield live
        except WorkerError as error:
            live.ended = live.ended or str(error)
            raise
        except asyncio.CancelledError:
            live.ended = live.ended or "stopped"
            raise
        live.ended = live.ended or "all is done"
