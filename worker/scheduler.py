"""What is sent next: retries that are due, then what earlier answers led to, then what comes fresh.

Operations that wait to be sent again lie in a heap and hold nothing. Retries that are due go first as long
as the retry budget lasts; a budget that is spent delays retries and nothing else. When there is nothing
fresh, retries have what is left of the rate: none can come any more, none is let in because too many wait to
be sent again, or none has come for a while.
"""

import asyncio
import heapq
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, islice
from typing import Generic, TypeVar

from worker.limits.budget import RetryBudget

BACKLOG = 10_000
"""Operations that wait to be sent again beyond which nothing fresh is taken in."""

CARRIED = 20_000
"""Things that fresh operations are about, beyond which none is taken in; one may be about a hundred."""

QUIET = 1.0
"""Seconds without anything fresh after which retries need no budget; who brings it is only a moment late."""

_SOON = 1e-6
"""Seconds; what is due within them is due, for timers are no finer."""

_T = TypeVar("_T")


class Scheduler(Generic[_T]):
    """Operations in the order in which they are to be sent.

    Args:
        budget: what retries may take from what is fresh.
        backlog: most operations that wait while fresh ones are still let in.
        gather: seconds for which operations are gathered that can go in one request: so long a group that is
            not full waits for more of what is still to come, and what falls due within them falls due
            together. 0 if each goes alone.
        weigh: how much an operation brings back.
        heaviest: most that those of one group bring back together; one that is heavier goes alone.
        carries: how many things an operation is about; as long as it is fresh, always the same.
        writes: whether an operation counts as a link, of which one request may carry fewer.
    """

    def __init__(
        self,
        budget: RetryBudget,
        *,
        backlog: int = BACKLOG,
        gather: float = 0.0,
        weigh: Callable[[_T], int] = lambda _: 1,
        heaviest: int = sys.maxsize,
        carries: Callable[[_T], int] = lambda _: 1,
        writes: Callable[[_T], bool] = lambda _: True,
    ) -> None:
        self._budget = budget
        self._backlog = backlog
        self._gather = gather
        self._weigh = weigh
        self._heaviest = heaviest
        self._carries = carries
        self._writes = writes
        self._carried = 0
        self._gathering_since: float | None = None
        self._alone: deque[_T] = deque()
        self._fresh: deque[_T] = deque()
        self._following: deque[_T] = deque()
        self._retries: list[tuple[float, int, _T]] = []
        self._delayed: list[tuple[float, int, _T]] = []
        self._numbers = count()
        self._in_hand = 0
        self._nothing_fresh_since: float | None = None
        self._closed = self._stopped = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def gather_no_more(self) -> None:
        """From now on each goes alone: nothing waits for others, and due times are exact."""
        self._gather = 0.0
        self._news.set()

    def offer(self, operations: Iterable[_T]) -> None:
        """Take fresh operations in, to be sent in their order."""
        for operation in operations:
            self._fresh.append(operation)
            self._carried += self._carries(operation)
        self._nothing_fresh_since = None
        self._news.set()

    def follow(self, operations: Iterable[_T]) -> None:
        """Take in what earlier answers led to; it goes before what is fresh."""
        self._following.extend(operations)
        self._nothing_fresh_since = None
        self._news.set()

    def again(self, operation: _T, seconds: float, *, is_retry: bool) -> None:
        """Send an operation once more, after so many seconds; if it is a retry, when the budget has one."""
        heap = self._retries if is_retry else self._delayed
        due = asyncio.get_running_loop().time() + seconds
        if self._gather and seconds:
            due = math.ceil(due / self._gather) * self._gather
        heapq.heappush(heap, (due, next(self._numbers), operation))
        self._news.set()

    def behind(self, operation: _T) -> None:
        """Send an operation once more, after what is there and fresh."""
        self._fresh.append(operation)
        self._carried += self._carries(operation)
        self._news.set()

    def alone(self, operation: _T) -> None:
        """Send an operation once more, at once, and with no other."""
        self._alone.append(operation)
        self._news.set()

    def close(self) -> None:
        """Nothing fresh will come any more."""
        self._closed = True
        self._news.set()

    def stop(self) -> None:
        """Give nothing out any more."""
        self._stopped = True
        self._news.set()
        self._room.set()

    async def wait_for_room(self, most: int) -> None:
        """Wait until fewer than ``most`` fresh operations wait, and few enough wait to be sent again.

        Also until those that wait are about no more than :data:`CARRIED` things.
        """
        while not self._stopped and (len(self._fresh) >= most or self._carried >= CARRIED or self._is_full):
            self._room.clear()
            await self._room.wait()

    async def next(self, most: int, links: int = sys.maxsize) -> list[_T]:
        """Up to ``most`` operations that may be sent now, at least one; none when all is done, or stopped.

        No more than ``links`` of them count as links. Whoever takes some says with :meth:`done` when they are
        over, or what follows is decided.
        """
        while not self._stopped:
            if (wait := self._wait_for_more(most, links)) is not None:
                group: list[_T] = []
            else:
                group, wait = self._pick(most, links)
            if group:
                self._in_hand += len(group)
                self._room.set()
                return group
            if self._closed and not self._in_hand and wait is None:
                break
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait)
            except TimeoutError:
                continue
        return []

    def done(self, operations: int) -> None:
        """So many of those that were taken are over, or came back by :meth:`again`."""
        self._in_hand -= operations
        self._news.set()

    @property
    def waiting(self) -> Iterator[_T]:
        """All operations that are not given out."""
        heaps = (operation for _, _, operation in chain(self._retries, self._delayed))
        return chain(heaps, self._alone, self._following, self._fresh)

    def _wait_for_more(self, most: int, links: int) -> float | None:
        """Seconds for which what is ready is not enough for a request; None if it is to be sent."""
        ready = len(self._fresh) + len(self._following)
        may_wait = self._gather and not self._closed and 0 < ready < most and not self._alone
        if not may_wait or (links <= ready and self._has_links(links)):
            self._gathering_since = None
            return None
        now = asyncio.get_running_loop().time()
        if self._gathering_since is None:
            self._gathering_since = now
        left = self._gathering_since + self._gather - now
        if left > _SOON:
            return left
        self._gathering_since = None
        return None

    def _has_links(self, links: int) -> bool:
        ready = filter(self._writes, chain(self._following, self._fresh))
        return next(islice(ready, links - 1, None), None) is not None

    @property
    def _is_full(self) -> bool:
        return len(self._retries) + len(self._delayed) >= self._backlog

    def _free_in(self, now: float) -> float:
        """Seconds until retries need no budget, if nothing fresh comes by then."""
        if self._fresh or self._following:
            return QUIET
        if self._nothing_fresh_since is None:
            self._nothing_fresh_since = now
        if self._closed or self._is_full:
            return 0.0
        return max(0.0, self._nothing_fresh_since + QUIET - now)

    def _pick(self, most: int, links: int) -> tuple[list[_T], float | None]:
        """What may be sent now; and if nothing may, the seconds until something falls due, if it does."""
        now = asyncio.get_running_loop().time()
        soon = now + _SOON
        if self._alone:
            return [self._alone.popleft()], None
        free_in = self._free_in(now)
        group = _Group(most, links, self._weigh, self._heaviest, self._writes)
        while self._delayed and self._delayed[0][0] <= soon and group.has_room(self._delayed[0][2]):
            group.add(heapq.heappop(self._delayed)[2])
        while self._retries and self._retries[0][0] <= soon and group.has_room(self._retries[0][2]):
            if not self._budget.spend(now) and free_in > _SOON:
                break
            group.add(heapq.heappop(self._retries)[2])
        self._fill(group)
        if group.operations:
            return group.operations, None
        waits = [heap[0][0] - now for heap in (self._delayed, self._retries) if heap]
        if self._retries and self._retries[0][0] <= soon:
            waits[-1] = min(self._budget.seconds_left, free_in)
        return [], max(0.0, min(waits)) if waits else None

    def _fill(self, group: "_Group[_T]") -> None:
        for queue in (self._following, self._fresh):
            while queue and group.has_room(queue[0]):
                operation = queue.popleft()
                if queue is self._fresh:
                    self._carried -= self._carries(operation)
                group.add(operation)
                self._budget.earn()
            if queue and not group.has_turns:
                return  # looks that overtake the links of those before them would pile up more and more


class _Group(Generic[_T]):
    """Operations that go in one request: so many, and no more than may come back at once."""

    def __init__(
        self,
        most: int,
        links: int,
        weigh: Callable[[_T], int],
        heaviest: int,
        writes: Callable[[_T], bool],
    ) -> None:
        self.operations: list[_T] = []
        self._most = most
        self._links_left = links
        self._counts_links = links < most
        self._weigh = weigh
        self._writes = writes
        self._left = heaviest
        self._weight = 0
        self._is_link = False

    @property
    def has_turns(self) -> bool:
        """Whether one more link may go with those that were added."""
        return not self._counts_links or self._links_left > 0

    def has_room(self, operation: _T) -> bool:
        """Whether an operation may go with those that were added."""
        self._weight = self._weigh(operation)
        self._is_link = self._counts_links and self._writes(operation)
        if not self.operations:
            return True  # however heavy, it has to go
        if self._is_link and not self.has_turns:
            return False
        return len(self.operations) < self._most and self._weight <= self._left

    def add(self, operation: _T) -> None:
        """Add the operation for which there was room just now."""
        self.operations.append(operation)
        self._left -= self._weight
        self._links_left -= self._is_link
