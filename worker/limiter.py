"""Two limits of everything that is sent: how many at once (permits), how many per window (turns).

Order is meaning: a permit first, then a turn, then send. A turn taken before a permit would go stale while
the permit is waited for, and stale turns are then spent in one burst.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Protocol

from asyncio_throttle.throttler import Throttler

from worker.models import Attempt, Result
from worker.quantities import Rate

HEADROOM = 0.012
"""Share of the rate left unused, so that jitter on the way to the portal cannot close up a full window."""

SLACK = 0.005
"""Seconds a late turn may be made up for; timers wake about a millisecond late, and that would add up."""


RETRY_SHARE = 0.2
"""Retries that each new pair allows for."""

RETRY_TIME_SHARE = 0.1
"""Share of the rate that is there for retries whatever else is sent."""

RETRY_RESERVE = 10.0
"""Retries that may come at once."""

LONGEST_FLOOR = 32.0
"""Seconds; when the portal throttles again and again, everyone is held back for at least as long as that."""

RENEWED = "token_renewed"
"""Reason of a 401 that was answered with a new token: nobody was too fast, so nobody is held back."""

_ROUNDING = 1e-9


class PacedThrottler(Throttler):
    """asyncio-throttle, but evenly paced, first in first out, and asleep until its turn.

    The package as shipped lets a whole window through at once and polls for the next. Here turn ``i`` is due
    one step after turn ``i-1`` (the generic cell rate algorithm with a burst of one), and since a step is
    longer than ``period / limit`` by more than the slack, no window of ``period`` seconds holds more than
    ``limit`` turns.
    """

    def __init__(self, rate: Rate) -> None:
        super().__init__(rate.limit, rate.period)
        self._first_come = asyncio.Lock()
        self._slack = 0.0
        self.change(rate)
        self._due = float("-inf")
        self._paused_until = float("-inf")
        self._free = asyncio.Event()
        self._free.set()
        self.paused_seconds = 0.0
        """Time for which the portal has held everyone back so far; overlapping pauses count once."""

    def change(self, rate: Rate) -> None:
        """Give the turns after the next one at another rate."""
        self.rate_limit, self.period = rate.limit, rate.period
        self._slack = min(SLACK, HEADROOM / 2 * rate.period)

    @property
    def _step(self) -> float:
        step: float = self.period / self.rate_limit * (1 + HEADROOM)
        return step

    async def acquire(self) -> None:
        """Wait for a turn. A cancelled waiter takes none."""
        clock = asyncio.get_running_loop().time
        async with self._first_come:
            # Looked at again after each sleep, for a pause or a hold may have come in meanwhile.
            await self._free.wait()
            while (wait := max(self._due, self._paused_until) - clock()) > 0:
                await asyncio.sleep(wait)
                await self._free.wait()
            self._due = max(self._due, clock() - self._slack) + self._step

    def hold(self) -> None:
        """Give no turn to anyone until :meth:`let_go`."""
        self._free.clear()

    def let_go(self) -> None:
        """Give turns again, paced as ever."""
        self._free.set()

    @property
    def paused(self) -> bool:
        """Whether everyone is being held back just now."""
        return self.pause_left > 0

    @property
    def pause_left(self) -> float:
        """Seconds for which everyone is still held back."""
        return max(0.0, self._paused_until - asyncio.get_running_loop().time())

    def pause(self, seconds: float) -> None:
        """Give no turn to anyone for ``seconds`` from now; a shorter pause never cuts a longer one."""
        now = asyncio.get_running_loop().time()
        until = max(self._paused_until, now + seconds)
        self.paused_seconds += until - max(now, self._paused_until)
        self._paused_until = until


class TurnBook(Protocol):
    """Where several processes write down whose turn it is."""

    async def book(self, *, step: float, late: float, pause: float) -> float:
        """Take the next turn.

        Args:
            step: seconds from this turn to the one after it, whoever takes that.
            late: seconds for which a turn can still be used.
            pause: seconds from now in which there is no turn for anyone.

        Returns:
            When it is due, by the clock of the running loop.

        Raises:
            WorkerError: nobody will ever get a turn here.
        """


class SharedThrottler(PacedThrottler):
    """Turns that are paced together with those of other processes.

    One turn is booked at a time, so that nobody keeps turns from others. A pause that this process is told
    of holds all of them back. A turn that could not be used when it was due is let go, and another booked:
    one from each process, all used at the end of a pause, would be a burst.

    Args:
        rate: of all of them together; each must name the same.
        turns: the book that they share.
    """

    def __init__(self, rate: Rate, turns: TurnBook) -> None:
        super().__init__(rate)
        self._turns = turns

    async def acquire(self) -> None:
        """Wait for a turn. A cancelled waiter may leave one unused."""
        clock = asyncio.get_running_loop().time
        late = HEADROOM / 2 * self.period
        async with self._first_come:
            while True:
                await self._free.wait()
                pause = max(0.0, self._paused_until - clock())
                due = await self._turns.book(step=self._step, late=late, pause=pause)
                await asyncio.sleep(max(0.0, due - clock()))
                is_late = clock() - due > late
                if self._free.is_set() and not self.paused and not is_late:
                    return


class RetryBudget:
    """Bounds what retries add to the load: a portal in trouble must not get more to do than one at ease.

    A token bucket. The first request of each pair earns a share of a retry, and time earns some more, so
    that the last pairs of a run need not wait for others that never come. Who finds it empty waits.

    Args:
        per_second: retries that time alone earns.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(RETRY_RESERVE, per_second)
        self._tokens = self._most
        self._filled_at: float | None = None
        self._first_come = asyncio.Lock()

    def earn(self) -> None:
        """A pair is sent for the first time."""
        self._tokens = min(self._most, self._tokens + RETRY_SHARE)

    async def spend(self) -> None:
        """Wait until the budget has a retry left, and take it. A cancelled waiter takes none."""
        clock = asyncio.get_running_loop().time
        async with self._first_come:
            while True:
                now = clock()
                earned = 0.0 if self._filled_at is None else (now - self._filled_at) * self._per_second
                self._tokens, self._filled_at = min(self._most, self._tokens + earned), now
                if self._tokens >= 1.0 - _ROUNDING:
                    self._tokens -= 1.0
                    return
                await asyncio.sleep((1.0 - self._tokens) / self._per_second)


class Limiter:
    """Permits, turns and retries, and what the portal's answers teach about them.

    Args:
        rate: at most so many requests in any window of so many seconds, retries included.
        concurrency: at most so many requests in flight.
        max_pause: seconds; a longer Retry-After is waited for in pieces of this length, one probe each.
        rng: source of jitter.
        turns: shared with other processes, which together keep to the rate; None for a rate of our own.
    """

    def __init__(
        self, rate: Rate, concurrency: int, *, max_pause: float, rng: Random, turns: TurnBook | None = None
    ) -> None:
        self._permits = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._surplus = 0
        self._throttler = PacedThrottler(rate) if turns is None else SharedThrottler(rate, turns)
        self._retries = RetryBudget(max(1.0, RETRY_TIME_SHARE * rate.per_second))
        self._max_pause = max_pause
        self._rng = rng
        self._throttled_in_a_row = 0

    @property
    def paused_seconds(self) -> float:
        """Time for which the portal has held everyone back so far."""
        return self._throttler.paused_seconds

    @property
    def pause_left(self) -> float:
        """Seconds for which the portal still holds everyone back."""
        return self._throttler.pause_left

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """Be one of the requests in flight."""
        await self._permits.acquire()
        try:
            yield
        finally:
            if self._surplus:
                self._surplus -= 1
            else:
                self._permits.release()

    async def turn(self) -> None:
        """Wait until one more request fits under the rate; to be taken last before sending."""
        await self._throttler.acquire()

    def first_try(self) -> None:
        """A pair is sent for the first time, which earns a share of a retry."""
        self._retries.earn()

    async def retry(self) -> None:
        """Wait until one more retry fits into the budget; to be taken before a permit is asked for."""
        await self._retries.spend()

    async def change(self, rate: Rate, concurrency: int) -> None:
        """Go on under other limits; requests in flight beyond a lower concurrency are not cut off."""
        self._throttler.change(rate)
        self._retries = RetryBudget(max(1.0, RETRY_TIME_SHARE * rate.per_second))
        wanted, self._concurrency = concurrency - self._concurrency, concurrency
        for _ in range(wanted):
            if self._surplus:
                self._surplus -= 1
            else:
                self._permits.release()
        for _ in range(-wanted):
            if self._permits.locked():
                self._surplus += 1
            else:
                await self._permits.acquire()

    def hold(self) -> None:
        """Let nobody send until :meth:`let_go`."""
        self._throttler.hold()

    def let_go(self) -> None:
        """Let everyone send again, under the same limits as ever."""
        self._throttler.let_go()

    def observe(self, attempt: Attempt) -> None:
        """Learn from an attempt: a throttled one speaks for the whole portal and holds everyone back.

        The first one for as long as it says. From the second in a row on also for at least a floor that
        doubles each time: what the portal names (nothing, 0, a date gone by) was not enough.
        """
        if attempt.reason == RENEWED:
            return
        if attempt.result is not Result.THROTTLED:
            self._throttled_in_a_row = 0
            return
        if not self._throttler.paused:
            # An answer that comes in a pause is to a request sent before it, and tells nothing new.
            self._throttled_in_a_row += 1
        named = attempt.retry_after
        doubled = self._throttled_in_a_row - (1 if named is None else 2)
        floor = min(2.0**doubled, LONGEST_FLOOR) if doubled >= 0 else 0.0
        seconds = min(max(named or 0.0, floor), self._max_pause)
        # A little later than asked: the portal's clock and ours need not agree to the millisecond.
        self._throttler.pause(seconds + self._rng.uniform(0.0, 0.1))
