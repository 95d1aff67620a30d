"""Let the first look at members go alone.

A portal that has just been started makes the filter while it answers the first look, and fails those that
come meanwhile (contract 10.5). So until one look was told, and again when one failed, they go one at a time.
"""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType

from worker.models import Ask, Attempt, Kind, Result


class FirstLook:
    """Who may look at members at the same time as others.

    Attributes:
        alone: held by whoever looks while nothing was told yet.
        is_told: the last look that was answered told something.
    """

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        self.is_told = False

    def turn(self, asks: Iterable[Ask]) -> "Turn":
        """Wait, if these look at members, until they may; to be taken before a slot, which would go stale."""
        return Turn(self, asks)

    def learn(self, asks: Sequence[Ask], attempts: Sequence[Attempt]) -> None:
        """Take answers into account."""
        look = Kind.LOOK
        for ask, attempt in zip(asks, attempts, strict=True):
            if ask.kind is look and attempt.result is not Result.THROTTLED:
                self.is_told = attempt.result in (Result.OK, Result.PERMANENT)


class Turn:
    """The right to look at members now. Use as an async context manager around sending."""

    __slots__ = ("_asks", "_first_look", "_is_alone")

    def __init__(self, first_look: FirstLook, asks: Iterable[Ask]) -> None:
        self._first_look = first_look
        self._asks = asks
        self._is_alone = False

    async def __aenter__(self) -> None:
        first_look = self._first_look
        look = Kind.LOOK
        if first_look.is_told or not any(ask.kind is look for ask in self._asks):
            return
        await first_look.alone.acquire()
        if first_look.is_told:  # by the one that was waited for
            first_look.alone.release()
        else:
            self._is_alone = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_alone:
            self._first_look.alone.release()
