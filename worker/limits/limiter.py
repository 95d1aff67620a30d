"""Two limits of everything that is sent: how many at once (permits), how many per window (turns).

Order is meaning: a permit first, then a turn, then send. A turn taken before a permit would go stale while
the permit is waited for, and stale turns are then spent in one burst. A slot is both, and what the answer
teaches.
"""

import asyncio
from functools import partial
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Self

from worker.limits.adaptive_concurrency import AdaptiveConcurrency
from worker.limits.adaptive_rate import AdaptiveRate
from worker.limits.budget import TIME_SHARE, RetryBudget
from worker.limits.change import Change, Knob, Learned
from worker.limits.controller import Controller
from worker.limits.line import Line
from worker.limits.permits import Permits
from worker.limits.ramp import Ramp
from worker.limits.throttler import PacedThrottler, SharedThrottler, TurnBook
from worker.models import QUESTIONS, Request, Result
from worker.quantities import Rate

if TYPE_CHECKING:
    from collections.abc import Callable

_WORKS = {Result.OK, Result.PERMANENT}

OUTAGE, USER = "outage", "user"
"""Who may hold everyone back."""

FLOOR, LONGEST_FLOOR = 1.0, 32.0
"""Seconds for which everyone is held back at least, when the portal throttles and names no time; it doubles
from the one to the other as long as nothing but that is answered."""

JITTER, LEAST_JITTER, MOST_JITTER = 0.1, 0.1, 5.0
"""What a pause lasts longer at most than asked: a share of it, within these seconds. The portal's clock and
ours need not agree to the millisecond, and others who were told the same are not to come back all at once."""


class Limiter:
    """Gives slots, and learns from each request that was sent in one.

    Args:
        rate: at most so many requests in any window of so many seconds, whatever they are for.
        concurrency: at most so many requests in flight.
        link_rate: at most so many links and removals in any window; None for as many as requests carry.
        max_pause: seconds; no pause is longer. Who asks for more is not waited for, see :class:`Outage`.
        rng: source of jitter.
        turns: shared with other processes, which together keep to the rate; None for a rate of our own.
        adapts_rate: what the portal throttles lowers the rate, which comes back in quiet times; never above
            ``rate``.
        learned: earlier at this portal; what is learned now goes on from there.

    Attributes:
        budget: what retries may take from what is fresh.
        controller: turns what is not fixed.
        observers: each is told of every request that was sent, once its answer is known.
        tell_change: each is told of a limit that was changed.
    """

    def __init__(
        self,
        rate: Rate,
        concurrency: int,
        *,
        link_rate: Rate | None = None,
        max_pause: float,
        rng: Random,
        turns: TurnBook | None = None,
        adapts_rate: bool = False,
        learned: Learned | None = None,
    ) -> None:
        self._rate = rate
        self._learned = learned or Learned()
        self.controller = Controller(
            AdaptiveRate(rate.per_second, self._learned.rate) if adapts_rate else None
        )
        self.permits = Permits(concurrency)
        self.budget = RetryBudget(_retries_per_second(rate))
        self.observers: list[Callable[[Request], None]] = []
        self.tell_change: list[Callable[[Change], None]] = []
        self._held_by: set[str] = set()
        self._flying = 0
        self._throttler = PacedThrottler(rate) if turns is None else SharedThrottler(rate, turns)
        self._throttler.change_links(link_rate)
        self._ramp = Ramp()
        # Who was let through and does not leave may have used up a turn, and gives back the rest.
        self._line: Line[int] = Line(partial(self._ramp.returns, answered=False))
        self._resized = asyncio.Event()
        self._max_pause = max_pause
        self._rng = rng
        self._throttled_in_a_row = 0
        self._has_begun = False
        self._keep_to_rate()

    @property
    def pause_left(self) -> float:
        """Seconds for which the portal still holds everyone back."""
        return self._throttler.pause_left

    @property
    def paused_seconds(self) -> float:
        """Time for which the portal has held everyone back so far."""
        return self._throttler.paused_seconds - self._throttler.pause_left

    @property
    def most_links(self) -> int:
        """Most links that one request may carry."""
        return self._throttler.most_links

    def slot(self, *, past_hold: bool = False, links: int = 0) -> "Slot":
        """Permission to send one request.

        Args:
            links: links and removals that it carries.
            past_hold: for a question that others wait for, such as a log-in or whether the portal works. It
                needs no permit, for they may hold all of them, and passes a hold and a pause, for whoever
                asks it spaces its tries; it keeps to the rate like any other.
        """
        return Slot(self, past_hold=past_hold, links=links)

    def change(self, rate: Rate, link_rate: Rate | None) -> None:
        """Go on under other rates, of requests and of links; a rate that is learned is bounded by it."""
        self._rate = rate
        if self.controller.rate is not None:
            self.controller.rate.bound(rate.per_second)
        self._throttler.change_links(link_rate)
        self._keep_to_rate()

    def resize(self, concurrency: int, *, adapts: bool = False) -> None:
        """Go on with another number of permits; requests in flight beyond a lower one are not cut off.

        Args:
            concurrency: so many, or at most so many.
            adapts: the number is learned.
        """
        if not adapts:
            self.controller.concurrency = None
        elif self.controller.concurrency is None:
            start = self._learned.concurrency
            self.controller.concurrency = AdaptiveConcurrency(concurrency, _now(), start)
        else:
            self.controller.concurrency.bound(concurrency, _now())
        adaptive = self.controller.concurrency
        self._resize(concurrency if adaptive is None else adaptive.limit)

    def _resize(self, permits: int) -> None:
        self.permits.resize(permits)
        self._resized.set()

    def _keep_to_rate(self) -> None:
        adaptive = self.controller.rate
        rate = self._rate if adaptive is None else self._rate.at(adaptive.value)
        self._throttler.change(rate)
        self.budget.change(_retries_per_second(rate))

    async def resized(self) -> None:
        """Wait until the number of permits has been changed, since it was last waited for."""
        await self._resized.wait()
        self._resized.clear()

    @property
    def in_flight(self) -> int:
        """Requests on their way just now; those that wait for a turn are none."""
        return self._flying

    @property
    def per_second(self) -> float:
        """Requests a second that may leave just now; of a rate that is learned, what it has come to."""
        per_second: float = self._throttler.rate_limit / self._throttler.period
        return per_second

    def hold(self, by: str = OUTAGE) -> None:
        """Let nobody send until :meth:`let_go`.

        Args:
            by: who wants it: as long as anybody does, nobody sends.
        """
        self._held_by.add(by)
        self._throttler.hold()

    def let_go(self, by: str = OUTAGE) -> None:
        """Let everyone send again, slowly at first, under the same limits; unless another holds them."""
        self._held_by.discard(by)
        if not self._held_by:
            self._ramp.begin()
            self._throttler.let_go()

    def is_held(self, by: str) -> bool:
        """Whether nobody may send because of that one."""
        return by in self._held_by

    @property
    def pauses_in_a_row(self) -> int:
        """Pauses since anything was answered but that we are too fast."""
        return self._throttled_in_a_row

    async def turn(self, *, past_hold: bool = False, links: int = 0) -> None:
        """Wait until one more request fits under the rates; of a :class:`Slot`, just before sending."""
        await self._throttler.acquire(past_hold=past_hold, links=links)

    def began(self, request: Request, turn_at: float) -> None:
        """The first request is answered; of a :class:`Slot`, which had its turn at that time.

        It has to wait for its connection and leaves late, and the portal counts from then on. Those after it
        find the connection there, so without the same delay there would be too many of them in its window.
        """
        if not self._has_begun and request.http_status is not None:
            self._has_begun = True
            late = _now() - request.seconds - turn_at
            self._throttler.put_off(min(max(0.0, late), self._rate.period))

    def observe(self, request: Request) -> None:
        """Learn from a request: a throttled one speaks for the whole portal and holds everyone back.

        The first one for as long as it says. From the second in a row on also for at least a floor that
        doubles each time: what the portal names (nothing, 0, a date gone by) was not enough.

        After each pause it starts slowly: see :class:`worker.limits.ramp.Ramp`. A question that was throttled
        holds nobody else back, unless it was told for how long: whoever asks it spaces its tries.

        An answer that is no refusal, but used up what the portal allows in its window, holds everyone back
        until the next window, unless that is beyond the longest pause.
        """
        if request.result is Result.THROTTLED:
            if request.retry_after is not None or request.kind not in QUESTIONS:
                self._pause(request.retry_after)
        else:
            self._throttled_in_a_row = 0
            quota = request.retry_after if request.result in _WORKS else None
            if quota is not None and quota <= self._max_pause:
                self._hold_back(quota)
        for change in self.controller.observe(request, _now()):
            self._turn(change)
        for observer in self.observers:
            observer(request)

    def flying(self, more: int) -> None:
        """So many more requests are in flight than before; of a :class:`Slot`."""
        self._flying += more
        self.controller.flying(self._flying, _now(), leaves=more > 0)

    def _turn(self, change: Change) -> None:
        """Do what the controller has decided."""
        if change.knob is Knob.RATE:
            self._keep_to_rate()
        elif change.knob is Knob.CONCURRENCY:
            self._resize(int(change.now))
        for tell in self.tell_change:
            tell(change)

    def _pause(self, named: float | None) -> None:
        if not self._throttler.paused:
            # An answer that comes in a pause is to a request sent before it, and tells nothing new.
            self._throttled_in_a_row += 1
        doubled = self._throttled_in_a_row - (1 if named is None else 2)
        floor = min(FLOOR * 2.0 ** min(doubled, 10), LONGEST_FLOOR) if doubled >= 0 else 0.0
        seconds = min(max(named or 0.0, floor), self._max_pause)
        self._hold_back(seconds)

    def _hold_back(self, seconds: float) -> None:
        jitter = min(max(JITTER * seconds, LEAST_JITTER), MOST_JITTER)
        self._throttler.pause(seconds + self._rng.uniform(0.0, jitter))
        self._ramp.begin()

    async def leave(self, links: int) -> int:
        """Wait for the slow start after a pause, then for a turn; gives what :meth:`back` is to be told."""

        def at_once() -> int | None:
            if self._ramp.has_room and self._throttler.take(links):
                return self._ramp.leaves(self.permits.limit)
            return None

        async def wait() -> int:
            await self._ramp.room()
            await self.turn(links=links)
            return self._ramp.leaves(self.permits.limit)

        return await self._line.go(at_once, wait)

    def back(self, left: int, *, answered: bool) -> None:
        """What left is over; ``answered`` if it was."""
        self._ramp.returns(left, answered=answered)


class Slot:
    """One request's place: a permit, then a turn. Use as an async context manager around sending."""

    __slots__ = ("_answered", "_left", "_limiter", "_links", "_past_hold", "_turn_at")

    def __init__(self, limiter: Limiter, *, past_hold: bool, links: int) -> None:
        self._limiter = limiter
        self._past_hold = past_hold
        self._links = links
        self._answered = False
        self._left = 0
        self._turn_at = 0.0

    def observe(self, request: Request) -> None:
        """Say how the request fared."""
        self._answered = request.http_status is not None
        self._limiter.began(request, self._turn_at)
        self._limiter.observe(request)

    async def __aenter__(self) -> Self:
        if self._past_hold:
            await self._limiter.turn(past_hold=True)
            self._turn_at = _now()
            return self
        await self._limiter.permits.acquire()
        try:
            self._left = await self._limiter.leave(self._links)
        except BaseException:
            self._limiter.permits.release()
            raise
        self._turn_at = _now()
        self._limiter.flying(1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._past_hold:
            self._limiter.back(self._left, answered=self._answered)
            self._limiter.flying(-1)
            self._limiter.permits.release()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _retries_per_second(rate: Rate) -> float:
    return max(1.0, TIME_SHARE * rate.per_second)
