"""A simulated portal in a thread of its own, for what begins an event loop itself."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from worker.simulator import Holdings, Portal, Scenario

Link = tuple[int, int]


@contextmanager
def served() -> Iterator[Portal]:
    """The portal, served within the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    portal = Portal(Scenario())

    async def close() -> None:
        await portal.__aexit__(None, None, None)

    asyncio.run_coroutine_threadsafe(portal.__aenter__(), loop).result()
    try:
        yield portal
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def set_up(portal: Portal, links: Iterable[Link] = (), *, without: tuple[set[int], set[int]]) -> None:
    """Have the portal hold these links, and lack these opportunities and contacts; its books begin anew."""
    portal.reset()
    for link in portal.books.links():
        portal.books.unlink(*link)
    for link in links:
        portal.books.link(*link)
    lack(portal, *without)


def lack(portal: Portal, opportunities: set[int], contacts: set[int]) -> None:
    """Have the portal lack these, and no others."""
    holdings = Holdings(missing_opportunities=frozenset(opportunities), missing_contacts=frozenset(contacts))
    portal.scenario = replace(portal.scenario, portal=holdings)
