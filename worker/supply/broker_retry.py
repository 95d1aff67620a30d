"""Calls to a broker that is away are made again, after a wait that doubles each time, and people are told."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from worker.errors import QueueError, QueueUnavailable

FIRST_WAIT = 0.25
LONGEST_WAIT = 15.0
"""Seconds between two tries; the wait doubles from the first to the longest, half of it at random."""

_T = TypeVar("_T")


class BrokerRetry:
    """How calls to one broker are made again.

    Args:
        tell: told what is going on, in words for the user; an empty text when it is over.
        rng: source of jitter, so that many workers do not come back as one.
    """

    def __init__(self, tell: Callable[[str], None], rng: Random) -> None:
        self._tell = tell
        self._rng = rng

    async def call(
        self,
        request: Callable[[], Awaitable[_T]],
        *,
        give_up_after: float | None = None,
        wait_for: type[QueueError] | tuple[type[QueueError], ...] = QueueUnavailable,
    ) -> _T:
        """The result of ``request()``, which is made again as long as the broker cannot be reached.

        Args:
            request: makes the call once.
            give_up_after: seconds; None to wait for ever, or until cancelled.
            wait_for: errors that may pass.

        Raises:
            QueueError: one of those, and it did not pass in that time; or the broker says no.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        wait = FIRST_WAIT
        while True:
            try:
                result = await request()
            except wait_for as error:
                if give_up_after is not None and clock() - started + wait > give_up_after:
                    raise
                self._tell(f"{error}; trying again")
                await asyncio.sleep(wait * self._rng.uniform(0.5, 1.0))
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                if wait > FIRST_WAIT:
                    self._tell("")
                return result
