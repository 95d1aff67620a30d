"""A slow start after a pause: few requests in flight at first, one more with each answer."""

import asyncio

FIRST = 2
"""Requests in flight after the pause. With one alone, an answer that does not come would hold up everyone."""


class Ramp:
    """Bounds what is in flight after a pause, until as many as ever may be.

    Each answer to a request sent since the pause allows for one more, so that a round of answers doubles what
    is in flight. What was sent before the pause is not counted. Only one waits at a time.
    """

    def __init__(self) -> None:
        self._pauses = 0
        self._allowed: int | None = None
        self._in_flight = 0
        self._room = asyncio.Event()

    def begin(self) -> None:
        """There is a pause; whoever sends after it starts slowly."""
        self._pauses += 1
        self._allowed = FIRST
        self._in_flight = 0
        self._room.set()

    @property
    def has_room(self) -> bool:
        """Whether one more may be in flight."""
        return self._allowed is None or self._in_flight < self._allowed

    async def room(self) -> None:
        """Wait until one more may be in flight."""
        while not self.has_room:
            self._room.clear()
            await self._room.wait()

    def leaves(self, most: int) -> int:
        """A request is sent now.

        Args:
            most: requests that may be in flight at all times.

        Returns:
            What :meth:`returns` is to be told.
        """
        if self._allowed is not None:
            self._in_flight += 1
            if self._allowed >= most:
                self._allowed = None
        return self._pauses

    def returns(self, left: int, *, answered: bool) -> None:
        """A request is over.

        Args:
            left: what :meth:`leaves` gave.
            answered: it got an answer. One that asks us to be slower has begun anew before.
        """
        if left == self._pauses and self._allowed is not None:
            self._in_flight -= 1
            self._allowed += answered
            self._room.set()
