"""A portal as a queue with a few servers: how long an answer takes, and what it says. Pure, by seed.

Not the simulator, which speaks HTTP in real time: here an hour is over in seconds, and nothing but the limits
is looked at.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

Says = Literal["ok", "throttled", "failed", "timeout"]

REFUSED_IN = 0.01
"""Seconds in which a refusal comes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a portal is, for a while.

    Attributes:
        latency: seconds of work on a request, median.
        jitter: spread of that, the sigma of a lognormal distribution.
        servers: requests worked on at once, others queue; 0 for all.
        knee: requests at once from which on each makes all others slower; 0 for never.
        drag: by which share it does, beyond taking its part.
        rate: requests in a window; 0 for any number.
        period: seconds of the window.
        window: sliding, or one after the other.
        retry_after: whether a refusal names a time.
        status: of a refusal.
        at_once: requests beyond which it refuses; 0 for never.
        down: it fails at once.
        times_out: no answer comes in time.
        timeout: seconds until we give up.
    """

    latency: float = 0.2
    jitter: float = 0.3
    servers: int = 0
    knee: int = 0
    drag: float = 0.02
    rate: int = 0
    period: float = 1.0
    window: Literal["sliding", "fixed"] = "sliding"
    retry_after: bool = False
    status: int = 503
    at_once: int = 0
    down: bool = False
    times_out: bool = False
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: what, after how many seconds, and for how long it asks to wait."""

    says: Says
    seconds: float
    retry_after: float | None = None


class PortalModel:
    """Answers requests in the order in which they come.

    Args:
        shape: how it is at first.
        then: what is different from a time on.
        seed: of the jitter.
    """

    def __init__(self, shape: Shape, then: "list[tuple[float, dict[str, Any]]]", seed: int) -> None:
        self.shape = shape
        self._then = sorted(then, key=lambda one: one[0])
        self._rng = Random(seed)  # noqa: S311 - jitter
        self._ends: list[float] = []
        self._free: list[float] = []
        self._accepted: deque[float] = deque()
        self.arrivals: list[float] = []

    def answer(self, at: float) -> Said:
        """A request arrives; times never go back."""
        while self._then and self._then[0][0] <= at:
            self.shape = replace(self.shape, **self._then.pop(0)[1])
        shape = self.shape
        while self._ends and self._ends[0] <= at:
            heapq.heappop(self._ends)
        self.arrivals.append(at)
        if shape.down:
            return Said("failed", REFUSED_IN)
        if shape.times_out:
            return Said("timeout", shape.timeout)
        if (wait := self._refuses(at)) is not None:
            return Said("throttled", REFUSED_IN, float(math.ceil(wait)) if shape.retry_after else None)
        seconds = self._seconds(at)
        heapq.heappush(self._ends, at + min(seconds, shape.timeout))
        return Said("ok", seconds) if seconds < shape.timeout else Said("timeout", shape.timeout)

    def _refuses(self, at: float) -> float | None:
        """Seconds until it would take a request; None if it takes this one."""
        shape = self.shape
        if shape.at_once and len(self._ends) >= shape.at_once:
            return 1.0
        if not shape.rate:
            return None
        begins = at - shape.period if shape.window == "sliding" else at - at % shape.period
        while self._accepted and (
            self._accepted[0] <= begins if shape.window == "sliding" else self._accepted[0] < begins
        ):
            self._accepted.popleft()
        if len(self._accepted) >= shape.rate:
            first = self._accepted[-shape.rate] if shape.window == "sliding" else begins
            return first + shape.period - at
        self._accepted.append(at)
        return None

    def _seconds(self, at: float) -> float:
        shape = self.shape
        work = shape.latency * math.exp(self._rng.gauss(0.0, shape.jitter))
        there = len(self._ends) + 1
        if shape.knee and there > shape.knee:
            work *= there / shape.knee * (1 + shape.drag * (there - shape.knee))
        if not shape.servers:
            return work
        while len(self._free) < shape.servers:
            heapq.heappush(self._free, at)
        while len(self._free) > shape.servers:  # fewer than before: those that were free first are gone
            heapq.heappop(self._free)
        begins = max(at, heapq.heappop(self._free))
        heapq.heappush(self._free, begins + work)
        return begins + work - at
