"""Show running counts while the work goes on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from worker.limits import Limiter
from worker.limits.limiter import USER
from worker.tally import Tally

_TICK = 0.2

_T = TypeVar("_T", bound=Tally)


async def show_often(tally: _T, show: Callable[[_T], None], limiter: Limiter) -> None:
    """Show the counts five times a second until cancelled, and then as the last ones.

    Args:
        tally: the counts.
        show: shows them.
        limiter: says what is in flight, and how long the portal holds everyone back.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    tally.ended = False  # a part of the work may have ended before
    try:
        while True:
            await asyncio.sleep(_TICK)
            tally.seconds = clock() - started
            tally.in_flight, tally.limit = limiter.in_flight, limiter.permits.limit
            tally.pause_left, tally.held = limiter.pause_left, limiter.is_held(USER)
            show_now(tally, show)
    finally:
        tally.ended = True
        show_now(tally, show)


def show_now(tally: _T, show: Callable[[_T], None]) -> None:
    """Show the counts; that a terminal is gone is no reason to stop."""
    with suppress(OSError):
        show(tally)
