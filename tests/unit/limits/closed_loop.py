"""A client with as many requests in flight as it is allowed, at a portal of which each latency is given."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.limits.adaptive_concurrency import AdaptiveConcurrency
from worker.limits.change import Why

Latency = Callable[[int, float], float]
"""Seconds that a request takes that is one of so many, sent at a time; below 0 if it fails after so long."""


@dataclass
class ClosedLoop:
    """The client.

    Attributes:
        busy: permits that are used at most.
        moves: when, why, and to which limit.
    """

    control: AdaptiveConcurrency
    latency: Latency
    busy: int = 1000
    now: float = 0.0
    moves: list[tuple[float, Why, int]] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    answers: int = 0
    _on_their_way: list[tuple[float, float, bool]] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        self._send()
        while self._on_their_way and self._on_their_way[0][0] <= until:
            self.now, sent_at, worked = heapq.heappop(self._on_their_way)
            self.answers += 1
            if worked:
                self.done.append(self.now)
                why = self.control.worked(sent_at, self.now, 1)
            else:
                why = self.control.failed(sent_at, self.now)
            if why is not None:
                self.moves.append((self.now, why, self.control.limit))
            self.limits.append((self.now, self.control.limit))
            self.control.flying(len(self._on_their_way), self.now)
            self._send()
        self.now = until

    def _send(self) -> None:
        while len(self._on_their_way) < min(self.control.limit, self.busy):
            seconds = self.latency(len(self._on_their_way) + 1, self.now)
            # No two at the same moment: lanes of a real portal are not in step for long.
            at = self.now + abs(seconds) * (1 + 0.01 * (len(self.done) % 7))
            heapq.heappush(self._on_their_way, (at, self.now, seconds > 0))
            self.control.flying(len(self._on_their_way), self.now)

    def speed(self, begin: float, end: float) -> float:
        return sum(begin <= at < end for at in self.done) / (end - begin)

    def limits_in(self, begin: float, end: float) -> set[int]:
        return {limit for at, limit in self.limits if begin <= at < end}

    def reasons(self, begin: float, end: float) -> list[Why]:
        return [why for at, why, _ in self.moves if begin <= at < end]
