"""Go through the links of a run at the portal: look for them, opportunity by opportunity, and act on it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import groupby, islice
from typing import Any, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from worker.dashboard.about import Page
from worker.dispatch import Finished
from worker.models import Request
from worker.operations.base import Operation
from worker.operations.look import MOST_SOUGHT, Look
from worker.run.access import Access
from worker.run.page import live_page
from worker.run.progress import show_now
from worker.scheduler import Scheduler
from worker.site import Site
from worker.tally import LinkTally

READY = 20
"""Operations that wait ready to be sent, at least: more if that many would not fill what is on its way."""


class Linked(Protocol):
    """A link of a run."""

    @property
    def opportunity_id(self) -> int:
        """Whose link it is."""

    @property
    def contact_id(self) -> int:
        """Which contact it links."""


_L = TypeVar("_L", bound=Linked)

SideTask = Callable[[], Awaitable[None]]
"""Something that is done beside the work until that ends."""


@asynccontextmanager
async def opened(
    access: Access,
    tally: LinkTally,
    show: Callable[[LinkTally], None],
    observers: Sequence[Callable[[Request], None]] = (),
    page: Page | None = None,
) -> AsyncIterator[tuple[Site, FilteringBoundLogger]]:
    """The portal and the log, open within the block; trouble is noted in ``tally`` and shown.

    Args:
        access: how to get there.
        tally: counts requests, too.
        show: shows it.
        observers: each is told of every request.
        page: the live page that is served meanwhile; None for none.

    Raises:
        WorkerError: the portal refuses us, is none, or does not answer; the log cannot be written; or the
            page not be served.
    """

    def tell(note: str) -> None:
        tally.note = note
        show_now(tally, show)  # until the work begins nobody else does

    async with AsyncExitStack() as stack:
        log = stack.enter_context(access.open_log())
        live = await stack.enter_async_context(live_page(page, tally, tell, show))
        site = await access.open_site(stack, tell, [tally.observe, *observers])
        if live is not None:
            live.site = site
        yield site, log


def look_for(links: tuple[_L, ...], site: Site, *, ids_only: bool) -> Look[tuple[_L, ...]]:
    """A look for links of one opportunity, at most :data:`worker.operations.look.MOST_SOUGHT`."""
    contact_ids = tuple(link.contact_id for link in links)
    return Look(links, links[0].opportunity_id, contact_ids, site.policy, site.rng, ids_only=ids_only)


async def go_through(
    links: Iterator[_L],
    site: Site,
    conclude: Callable[[Sequence[Finished]], Awaitable[Sequence[Operation[Any]]]],
    side_tasks: Sequence[SideTask] = (),
    *,
    ids_only: bool = False,
) -> None:
    """Look for all links, and do whatever follows; for the rest see :func:`carry_out`.

    Args:
        links: by opportunity.
        site: where.
        conclude: as of :class:`worker.dispatch.Dispatcher`.
        side_tasks: are done until it ends.
        ids_only: of contacts that are members, their Contacts are not wanted.

    Raises:
        WorkerError: the first that ended the work.
    """
    looks = (look_for(group, site, ids_only=ids_only) for group in _groups(links))
    await carry_out(partial(offer_all, looks, site), site, conclude, side_tasks)


async def carry_out(
    offer: Callable[[Scheduler[Operation[Any]]], Coroutine[Any, Any, None]],
    site: Site,
    conclude: Callable[[Sequence[Finished]], Awaitable[Sequence[Operation[Any]]]],
    side_tasks: Sequence[SideTask] = (),
) -> None:
    """Send what is offered, and whatever follows. Cancelled, it leaves nothing on its way.

    Args:
        offer: offers operations to a scheduler, and closes it.
        site: where.
        conclude: as of :class:`worker.dispatch.Dispatcher`.
        side_tasks: are done until it ends; an error of one ends it.

    Raises:
        WorkerError: the first that ended the work.
    """
    scheduler = site.scheduler()
    sending = asyncio.ensure_future(site.dispatcher(scheduler, conclude).run(grace=0.0))
    others = (offer(scheduler), site.watch(), *(task() for task in side_tasks))
    tasks = {sending, *(asyncio.ensure_future(one) for one in others)}
    try:
        while not sending.done():
            running = {task for task in tasks if not task.done()}
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def offer_all(
    operations: Iterator[Operation[Any]], site: Site, scheduler: Scheduler[Operation[Any]]
) -> None:
    """Offer operations, a few ahead of what is sent, and close the scheduler after the last one."""
    for operation in operations:
        scheduler.offer([operation])
        # Reckoned anew each time: the portal may change how many one request carries.
        await scheduler.wait_for_room(max(READY, 2 * site.at_once))
    scheduler.close()


def _groups(links: Iterator[_L]) -> Iterator[tuple[_L, ...]]:
    for _, together in groupby(links, lambda link: link.opportunity_id):
        while group := tuple(islice(together, MOST_SOUGHT)):
            yield group
