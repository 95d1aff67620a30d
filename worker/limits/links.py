"""How many links may leave in a window of time, however many go in one request. Pure: no clock."""

from collections import deque

from worker.quantities import Rate

HEADROOM = 0.012
"""Share of a rate left unused, so that jitter on the way to the portal cannot close up a full window."""

SLACK = 0.005
"""Seconds a late turn may be made up for; timers wake about a millisecond late, and that would add up."""

TOGETHER = 1.0
"""Seconds: so many links as may leave in them can share a request. More would make people wait behind it."""

_FINEST = 1_000
"""Parts of a window, each of which is remembered as one."""


class LinkTurns:
    """Paces links: a request that carries n of them takes n turns, at the moment when it leaves.

    Turns are a step apart (the generic cell rate algorithm). That alone would let a window hold nearly one
    request too many if they differ in size, so what left in the last window is remembered, too.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._base, self._taken = float("-inf"), 0
        self._left: deque[tuple[float, float, int]] = deque()

    def change(self, rate: Rate) -> None:
        """Go on at another rate."""
        self._rate = rate

    def most_together(self, step: float) -> int:
        """Most links in one request, if requests are ``step`` seconds apart.

        They are those of a second, or of a step if that is longer. Of the upper half of the numbers up to
        there it is the one that leaves the least of a window unused.
        """
        limit = self._rate.limit
        most = max(1, min(limit, int(max(TOGETHER, step) * self._rate.per_second)))
        return max(range(most // 2 + 1, most + 1), key=lambda size: (limit // size * size, size))

    def wait(self, links: int, now: float) -> float:
        """Seconds until so many may leave."""
        window = self._rate.period * (1 + HEADROOM / 3)
        while self._left and self._left[0][1] <= now - window:
            self._left.popleft()
        due, held = self._base + self._taken * self._step, sum(count for _, _, count in self._left)
        for _, last, count in self._left:
            if held + links <= self._rate.limit:
                break
            due, held = max(due, last + window), held - count
        return max(0.0, due - now)

    def take(self, links: int, now: float) -> None:
        """So many leave now."""
        slack = min(SLACK, HEADROOM / 2 * self._rate.period)
        self._base, self._taken = max(self._base + self._taken * self._step, now - slack), links
        if self._left and now - self._left[-1][0] < self._rate.period / _FINEST:
            first, _, count = self._left.pop()
            self._left.append((first, now, count + links))
        else:
            self._left.append((now, now, links))

    @property
    def _step(self) -> float:
        return self._rate.period / self._rate.limit * (1 + HEADROOM)
