"""First come, first served; and no pause between one and the next if there need be none.

A lock would wake one waiter in each round of the event loop. Whoever comes in between has to wait behind, so
once there is a queue it never ends, and everyone is as slow as the rounds are.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")

At = Callable[[], _T | None]
"""Lets one through, if that can be done without waiting."""


class Line(Generic[_T]):
    """Where those stand who want to pass.

    Args:
        undo: told of who was let through, and does not go for being cancelled in the same moment.
    """

    def __init__(self, undo: Callable[[_T], None]) -> None:
        self._undo = undo
        self._has_first = False
        self._others: deque[tuple[asyncio.Future[_T | None], At[_T]]] = deque()

    async def go(self, at_once: At[_T], wait: Callable[[], Awaitable[_T]]) -> _T:
        """Pass, after all who came before.

        Args:
            at_once: called when it is one's turn.
            wait: called when that gives None; nobody passes until it is done.
        """
        if not self._has_first:
            passed = at_once()
            if passed is not None:
                return passed
            self._has_first = True
        else:
            passed = await self._stand(at_once)
            if passed is not None:
                return passed
        try:
            return await wait()
        finally:
            self._next()

    async def _stand(self, at_once: At[_T]) -> _T | None:
        """Wait behind others; None for being the first now."""
        place: asyncio.Future[_T | None] = asyncio.get_running_loop().create_future()
        self._others.append((place, at_once))
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                passed = place.result()
                self._next() if passed is None else self._undo(passed)
            raise

    def _next(self) -> None:
        """Let those through who can pass now; who cannot is the first."""
        while self._others:
            place, at_once = self._others.popleft()
            if place.done():
                continue
            passed = at_once()
            place.set_result(passed)
            if passed is None:
                return
        self._has_first = False
