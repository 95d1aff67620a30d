"""How many requests may be in flight at once; the number can be changed while some are."""

import asyncio
from collections import deque


class Permits:
    """A semaphore whose size can be changed, first come first served.

    Args:
        limit: most permits out at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a permit. A cancelled waiter takes none."""
        if self.in_use < self.limit and not self._waiting:
            self.in_use += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # it was given in the moment we were cancelled
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_use -= 1
        self._hand_out()

    def resize(self, limit: int) -> None:
        """Go on with another number; permits beyond a lower one are not called back."""
        self.limit = limit
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.in_use < self.limit:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_use += 1
                waiter.set_result(None)
