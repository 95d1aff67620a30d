"""Outcomes on their way to whoever iterates over them. Nobody waits to put one in."""

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Generic

from worker.api.outcome import ItemT, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.models import Status


class Channel(Generic[ItemT]):
    """Outcomes in the order in which they came.

    Attributes:
        states: outcomes so far, by state, whether or not somebody has taken them.
        taken: is called after each that is taken.
    """

    def __init__(self) -> None:
        self.states: Counter[Status] = Counter()
        self.taken: Callable[[], None] = lambda: None
        self._waiting: deque[Outcome[ItemT]] = deque()
        self._news = asyncio.Event()
        self._ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> tuple[Outcome[ItemT], ...]:
        """Those that nobody has taken."""
        return tuple(self._waiting)

    def put(self, outcome: Outcome[ItemT]) -> None:
        """Put one in."""
        self.states[outcome.status] += 1
        self._waiting.append(outcome)
        self._news.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._news.set()

    async def get(self) -> Outcome[ItemT] | None:
        """The next one; None when there are no more. Several may wait for one; each is given once."""
        while not self._waiting:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        outcome = self._waiting.popleft()
        self.taken()
        return outcome
