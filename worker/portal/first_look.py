"""Let the first look at members go alone.

A portal that has just been started makes the filter while it answers the first look, and fails those that
come meanwhile (contract 10.5). So until one look was told, and again when one failed, they go one at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from worker.models import Ask, Attempt, Kind, Result


class FirstLook:
    """Who may look at members at the same time as others."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()
        self._is_told = False

    @asynccontextmanager
    async def turn(self, asks: Iterable[Ask]) -> AsyncIterator[None]:
        """Wait, if these look at members, until they may; to be taken before a slot, which would go stale."""
        if self._is_told or not any(ask.kind is Kind.LOOK for ask in asks):
            yield
            return
        await self._alone.acquire()
        if self._is_told:  # by the one that was waited for
            self._alone.release()
            yield
            return
        try:
            yield
        finally:
            self._alone.release()

    def learn(self, asks: Sequence[Ask], attempts: Sequence[Attempt]) -> None:
        """Take answers into account."""
        for ask, attempt in zip(asks, attempts, strict=True):
            if ask.kind is Kind.LOOK and attempt.result is not Result.THROTTLED:
                self._is_told = attempt.result in (Result.OK, Result.PERMANENT)
