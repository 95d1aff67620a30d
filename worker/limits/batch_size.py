"""How many operations go into one batch: as many as the portal answers in a few seconds. Pure."""

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = 3.0
"""Seconds that a batch is to take."""

START, FLOOR, CEILING = 20, 1, 200
"""Operations in the first batch, and in the smallest and the largest; a portal shows 1,000 at most
(contract 7.5)."""

GROWTH = 1.5
"""Most by which it grows at a time."""

FAR_TOO_LONG = 15.0
"""Seconds; after a batch that took longer the next ones are a tenth of it at once."""

_LEAST_LOST = 2
"""Operations; of one alone it could not be learned whether batches get through."""

_WINDOW = 10
_AGREE = 3
"""Answers by which it grows at least; the slowest of the last ones counts."""


class BatchSize:
    """Learns from the time from sending a batch to its answer.

    Time that operations wait on our side is none of it, or the size would collapse whenever there is much to
    do. What the portal throttled says nothing about it.

    Args:
        ceiling: never more operations than that.
        longest: seconds that the slowest batch may take; its answer must come before a time-out, and within
            the time that a stop allows.
        start: operations in the first batch, if it is known what is good.

    Attributes:
        may_change: whether it may go by the last answers now; one that was far too large changes it anyway.
    """

    def __init__(self, ceiling: int = CEILING, *, longest: float, start: int | None = None) -> None:
        self._ceiling = min(ceiling, CEILING)
        self._target = min(TARGET, longest)
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self.size = max(FLOOR, min(start or START, self._ceiling))
        self.may_change: Callable[[], bool] = lambda: True

    def observe(self, items: int, seconds: float) -> None:
        """Take a batch into account that was answered, or not in time; small ones say too little."""
        if seconds >= FAR_TOO_LONG and items > FLOOR:
            # Of what was sent: one stall of the portal catches all that are in flight, and is one word.
            self._change(min(self.size, items // 10))
        elif 2 * items >= self.size:
            self._seconds.append(seconds * self.size / items)
            wanted = self.size * self._target / max(*self._seconds, 1e-3)
            if self.may_change() and (wanted < self.size or len(self._seconds) >= _AGREE):
                self._change(int(min(wanted, max(self.size * GROWTH, self.size + 1))))

    def lost(self) -> None:
        """One more was lost like the one before: perhaps half as many get through. It grows again as ever."""
        self._change(min(self.size, max(_LEAST_LOST, self.size // 2)))

    def too_large(self, items: int) -> None:
        """So many are too much to be sent or answered at once: from now on there are at most half as many."""
        self._ceiling = max(FLOOR, min(self._ceiling, items // 2))
        self._change(min(self.size, self._ceiling))

    def _change(self, wanted: int) -> None:
        size = max(FLOOR, min(wanted, self._ceiling))
        if size != self.size:
            self.size = size
            self._seconds.clear()
