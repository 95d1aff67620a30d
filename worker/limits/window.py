"""A stretch of time under one limit, and what it showed: answers, time, latency, use. Pure."""

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, median, pstdev

FEWEST = 4
"""Answers that a window has at least; and as many as twice the limit."""

SHORTEST, LONGEST = 1.0, 6.0
"""Seconds that a window lasts at least, and after which one with the fewest answers ends though it is not as
sharp as it should be."""

REMEMBERED = 60.0
"""Seconds after which a window tells nothing of how the portal is now."""

MOST = 600
"""Answers that no window needs more than."""

_SHARP = 8.0
_USUAL_SPREAD = 0.5


@dataclass(slots=True)
class Window:
    """Counts from the first answer to a request that was sent under the limit.

    What was sent before that, or is answered meanwhile, says how things were under another limit.

    Args:
        limit: requests in flight that are allowed.
        begins_at: when it became so.
    """

    limit: int
    begins_at: float
    items: int = 0
    answers: int = 0
    latencies: list[float] = field(default_factory=list)
    full: float = 0.0
    """Seconds for which as many as that were in flight, since the limit became so."""
    _first_at: float | None = None
    _last_at: float = 0.0
    _busy: float = 0.0
    _spent: float = 0.0

    @classmethod
    def next_to(cls, window: "Window", at: float) -> "Window":
        """One that begins where another under the same limit ended."""
        return cls(window.limit, at, full=window.full, _first_at=at, _last_at=at)

    def answered(self, sent_at: float, at: float, items: int, *, worked: bool = True) -> None:
        """Take an answer in, to a request of so many operations."""
        if self._first_at is None:
            if sent_at >= self.begins_at:
                self._first_at = self._last_at = at
            return
        self.answers += 1
        self._last_at = at
        self._spent += at - sent_at
        if worked:
            self.items += items
            self.latencies.append((at - sent_at) / max(items, 1))

    def in_flight(self, count: int, since: float, until: float) -> None:
        """So many requests were on their way in that time."""
        if count >= self.limit:
            self.full += max(0.0, until - max(since, self.begins_at))
        if self._first_at is not None:
            self._busy += count * max(0.0, until - max(since, self._first_at))

    @property
    def ends_at(self) -> float:
        """When its last answer came."""
        return self._last_at

    @property
    def seconds(self) -> float:
        """From its first answer to its last."""
        return 0.0 if self._first_at is None else self._last_at - self._first_at

    @property
    def used(self) -> float:
        """Share of the limit that was in flight on the mean."""
        return self._busy / (self.seconds * self.limit) if self.seconds else 0.0

    @property
    def throughput(self) -> float:
        """Items a second.

        Not just counted: where the window begins and ends, an answer more or less would be chance. Requests
        in flight, over the time that each takes, is the same without it (Little's law).
        """
        return self.items / self._spent * self._busy / self.seconds if self._spent and self.seconds else 0.0

    @property
    def takes(self) -> float:
        """Seconds that a request takes on the mean."""
        return self._spent / max(self.answers, 1)

    @property
    def latency(self) -> float | None:
        """Seconds an item, of the answer in the middle; None if there is none."""
        return median(self.latencies) if self.latencies else None

    @property
    def spread(self) -> float:
        """Standard deviation of the latencies, as a share of their mean."""
        if len(self.latencies) < FEWEST:
            return _USUAL_SPREAD
        return pstdev(self.latencies) / max(fmean(self.latencies), 1e-9)

    def is_over(self, spread: float, longest: float = LONGEST) -> bool:
        """Whether it shows enough to tell what one request more or less in flight does.

        That changes the throughput by a share of 1 / limit at most; so the answers needed grow with the
        square of the limit, and with the square of how much latencies spread.
        """
        fewest = max(FEWEST, 2 * self.limit)
        wanted = min(MOST, _SHARP * (spread * self.limit) ** 2)
        is_sharp = self.answers >= wanted and self.seconds >= SHORTEST
        return self.answers >= fewest and (is_sharp or self.seconds >= longest)


class Throughputs:
    """Items a second that each limit gave lately: in its last windows, if these are not too long ago."""

    def __init__(self, windows: int = 4) -> None:
        self._windows = windows
        self._seen: dict[int, deque[tuple[float, float, int]]] = {}

    def add(self, window: Window) -> None:
        """Take in what a window showed."""
        seen = self._seen.setdefault(window.limit, deque(maxlen=self._windows))
        seen.append((window.ends_at, window.throughput, window.answers))

    def of(self, limit: int, at: float) -> float:
        """Items a second under a limit, each window by its answers; 0 if nobody knows."""
        seen = [one for one in self._seen.get(limit, ()) if one[0] >= at - REMEMBERED]
        return sum(value * answers for _, value, answers in seen) / max(sum(n for _, _, n in seen), 1)

    def clear(self) -> None:
        """Forget all: the portal is no more as it was."""
        self._seen.clear()
