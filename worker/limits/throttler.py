"""Turns: how many requests may leave in a window of time, alone or together with other processes."""

import asyncio
import sys
from typing import Protocol

from asyncio_throttle.throttler import Throttler

from worker.limits.links import HEADROOM, SLACK, LinkTurns
from worker.quantities import Rate

LOOK_AGAIN = 1.0
"""Seconds after which who waits for a turn looks again when it is due: the rate may be another one."""


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
        self._last = float("-inf")
        self._links: LinkTurns | None = None
        self._paused_until = float("-inf")
        self._free = asyncio.Event()
        self._free.set()
        self.paused_seconds = 0.0
        """Length of all pauses, the one that lasts included; where they overlap they count once."""

    def change(self, rate: Rate) -> None:
        """Give turns at another rate."""
        self.rate_limit, self.period = rate.limit, rate.period
        self._slack = min(SLACK, HEADROOM / 2 * rate.period)

    def change_links(self, rate: Rate | None) -> None:
        """Let so many links leave from now on; None for as many as have turns."""
        if rate is None:
            self._links = None
        elif self._links is None:
            self._links = LinkTurns(rate)
        else:
            self._links.change(rate)

    @property
    def most_links(self) -> int:
        """Most links that one request may carry."""
        return sys.maxsize if self._links is None else self._links.most_together(self._step)

    @property
    def _step(self) -> float:
        step: float = self.period / self.rate_limit * (1 + HEADROOM)
        return step

    async def acquire(self, *, past_hold: bool = False, links: int = 0) -> None:
        """Wait for a turn. A cancelled waiter takes none.

        Args:
            past_hold: also while everyone is held or paused, and before those who wait for that to end.
            links: that the request carries; they take as many turns of their own at the same moment.
        """
        if past_hold:
            await self._until_due(past_hold=True)
            return
        async with self._first_come:
            if not links:
                await self._until_due(past_hold=False)
                return
            while (wait := self._links_wait(links)) > 0:  # noqa: ASYNC110 - it waits for the time
                await asyncio.sleep(min(wait, LOOK_AGAIN))
            # Nobody else sends links meanwhile, so they can still leave when there is a turn.
            await self._until_due(past_hold=False)
            if self._links is not None:
                self._links.take(links, asyncio.get_running_loop().time())

    def take(self, links: int = 0) -> bool:
        """Take a turn if there is one this very moment, without waiting; only while nobody waits for one."""
        if not self._free.is_set():
            return False
        now = asyncio.get_running_loop().time()
        paced = self._links if links else None
        if (paced is not None and paced.wait(links, now) > 0) or not self._take(now):
            return False
        if paced is not None:
            paced.take(links, now)
        return True

    def _take(self, now: float) -> bool:
        if self._due(past_hold=False) > now:
            return False
        self._use(now)
        return True

    def _use(self, now: float) -> None:
        self._last = max(self._last + self._step, now - self._slack)

    def _links_wait(self, links: int) -> float:
        return 0.0 if self._links is None else self._links.wait(links, asyncio.get_running_loop().time())

    async def _until_due(self, *, past_hold: bool) -> None:
        clock = asyncio.get_running_loop().time
        if not past_hold:
            await self._free.wait()
        # Looked at again after each sleep: a pause, a hold, or who passes one may have come in meanwhile.
        while (wait := self._due(past_hold=past_hold) - clock()) > 0:
            await asyncio.sleep(min(wait, LOOK_AGAIN))
            if not past_hold:
                await self._free.wait()
        self._use(clock())

    def _due(self, *, past_hold: bool) -> float:
        due = self._last + self._step
        return due if past_hold else max(due, self._paused_until)

    def put_off(self, seconds: float) -> None:
        """Give all turns so much later: the last one was used so much later than it was given."""
        self._last += seconds

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

    def book_at_once(self, *, step: float, late: float) -> float | None:
        """Take the next turn if it is due, and if that needs no waiting for others; else nothing is booked.

        For the arguments, and what it returns, see :meth:`book`.
        """

    async def book(self, *, step: float, late: float, pause: float, urgent: bool = False) -> float:
        """Take the next turn.

        Args:
            step: seconds from this turn to the one after it, whoever takes that.
            late: seconds for which a turn can still be used.
            pause: seconds from now in which there is no turn for anyone.
            urgent: for a question that others wait for. It may pass a pause; a far book need not allow it.

        Returns:
            When it is due, by the clock of the running loop.

        Raises:
            WorkerError: nobody will ever get a turn here.
        """

    async def postpone(self, by: float, before: float) -> bool:
        """A turn is used later than it may be: put all that are not booked yet off.

        Args:
            by: seconds for which it is used too late.
            before: the first turn that is put off must be due no later than that, or it would be no use.

        Returns:
            Whether that was done; if not, the turn must not be used.
        """

    async def give_back(self, due: float, step: float) -> None:
        """A turn was not used. Who takes the next one may have it; a book that cannot tell lets it lapse.

        Args:
            due: of the turn, as :meth:`book` gave it.
            step: with which it was booked.
        """


class SharedThrottler(PacedThrottler):
    """Turns that are paced together with those of other processes.

    One turn is booked at a time, so that nobody keeps turns from others. A pause that this process is told
    of holds all of them back. A turn that must not be used when it was due is given back, and another
    booked: one from each process, all used at the end of a pause, would be a burst.

    Args:
        rate: of all of them together; each must name the same.
        turns: the book that they share.
    """

    def __init__(self, rate: Rate, turns: TurnBook) -> None:
        super().__init__(rate)
        self._turns = turns
        self._to_put_off = 0.0

    def put_off(self, seconds: float) -> None:
        """Give all turns that are not booked yet so much later."""
        self._to_put_off += seconds

    def _take(self, now: float) -> bool:
        if self._to_put_off or self._paused_until > now:
            return False
        step, late = self._step, HEADROOM / 2 * self.period
        due = self._turns.book_at_once(step=step, late=late / 2)
        return due is not None

    async def _until_due(self, *, past_hold: bool) -> None:
        """Wait for a turn. A cancelled waiter may leave one unused."""
        clock = asyncio.get_running_loop().time
        while True:
            if not past_hold:
                await self._free.wait()
            step, late = self._step, HEADROOM / 2 * self.period
            if self._to_put_off:
                by, self._to_put_off = self._to_put_off, 0.0
                await self._turns.postpone(by, clock() + self.rate_limit * step)
            pause = 0.0 if past_hold else max(0.0, self._paused_until - clock())
            due = await self._turns.book(step=step, late=late, pause=pause, urgent=past_hold)
            while (wait := due - clock()) > 0 and step == self._step:  # noqa: ASYNC110 - it waits for the time
                await asyncio.sleep(min(wait, LOOK_AGAIN))
            if step == self._step and (past_hold or (self._free.is_set() and not self.paused)):
                # A window that begins with a late turn must not hold one more: its last one is late, too.
                # Half of what it may be late is left for jitter on the way, where turns can be put off.
                lateness, before = clock() - due, due + self.rate_limit * step
                if lateness <= late / 2 or await self._turns.postpone(lateness - late / 2, before):
                    return
                if lateness <= late:
                    return
            await self._turns.give_back(due, step)
