"""Wait out a portal that fails or throttles: ask now and then, go on when it answers, or give up."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from worker.errors import OutageError, PortalClosed, PortalUnreachable
from worker.limits.breaker import Breaker, Silence
from worker.limits.limiter import JITTER, USER, Limiter
from worker.limits.waits import TOO_LONG, asks_to_wait
from worker.models import QUESTIONS, Request, Result
from worker.quantities import format_duration
from worker.reasons import BUSY_OR_CLOSED, HINTS, MAINTENANCE

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between two questions; the wait doubles from the first to the longest."""

LONG_PAUSE = 5.0
"""Seconds; a pause that the portal asks for is told to the user from this length on."""

PAUSES = 3
"""In a row for a 503 that does not say that we are too fast. After one more it is the portal that fails and
not our pace: the pauses were ever longer, and nothing was done between them."""

IDLE = 300.0
"""Seconds in which nothing was sent, though the limits allowed it: what failed before them is over."""

_WORKS = {Result.OK, Result.PERMANENT}


class Outage:
    """Guards the pairs against a failing portal: rows that wait burn no attempts.

    Args:
        ask: asks the portal for something harmless, once.
        give_up_after: seconds from the first request that failed or was throttled, without a single one
            since that the portal worked on.
        tell: told what is going on, in words for the user.
    """

    def __init__(
        self,
        limiter: Limiter,
        ask: Callable[[], Awaitable[Request]],
        give_up_after: float,
        tell: Callable[[str], None],
    ) -> None:
        self._breaker = Breaker()
        self._silence = Silence()
        self._suspects = False
        self._limiter = limiter
        self._ask = ask
        self._give_up_after = give_up_after
        self._tell = tell
        self._changed = asyncio.Event()
        self._wait = FIRST_WAIT
        self._unreachable = False
        self._held = False
        self._refusal: Request | None = None
        self._too_long: float | None = None
        self._told_until = 0.0
        self._failing_since: float | None = None
        self._busy_until = float("-inf")

    def observe(self, request: Request) -> None:
        """Learn from a request, after the limiter has; after one failure too many everyone is held."""
        now = asyncio.get_running_loop().time()
        if now - request.seconds > self._busy_until + IDLE:
            self._failing_since = None
            self._silence.begin_anew()
        self._busy_until = now + self._limiter.pause_left + 1 / self._limiter.per_second
        if request.kind in QUESTIONS:
            return  # that it answers those is no work done
        self._breaker.observe(request)
        self._silence.observe(request, now)
        if request.result in _WORKS:
            self._wait = FIRST_WAIT
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now
        self._take_note_of_throttling(request)
        fails = self._breaker.is_open or self._is_out_of_order(request)
        if fails or self._silence.is_open:
            self._suspects = not fails and (self._suspects or not self._held)
            self._limiter.hold()
            self._held = True
            self._changed.set()

    def pause(self) -> None:
        """Nobody sends until :meth:`resume`, because the user wants it: that is no failure of the portal."""
        self._limiter.hold(USER)
        self._changed.set()

    def resume(self) -> None:
        """The user lets everyone send again; how long the portal had failed before says nothing now."""
        self._failing_since = None
        self._limiter.let_go(USER)
        self._changed.set()

    async def watch(self) -> None:
        """Wait for trouble, and each time for its end. Runs until cancelled.

        Raises:
            OutageError: the portal has answered, but not worked, for too long, or asks to wait for longer.
            PortalError: it refuses us, has been closed or has not answered at all for too long.
        """
        while True:
            if self._too_long is not None:
                lasted = format_duration(self._give_up_after)
                raise OutageError(f"the portal {asks_to_wait(self._too_long)}; {TOO_LONG.format(lasted)}")
            if self._held:  # the breaker itself may have heard of good answers since
                answer = await self._until_it_answers()
                self._held = self._suspects = False
                self._tell("")
                self._limiter.let_go()
                self._take_note_of_throttling(answer)
                continue
            is_patient = self._refusal is None or self._limiter.is_held(USER)
            left = None if is_patient else self._time_left()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
            self._changed.clear()

    def _is_out_of_order(self, request: Request) -> bool:
        unexplained = request.result is Result.THROTTLED and request.reason in BUSY_OR_CLOSED
        return unexplained and self._limiter.pauses_in_a_row > PAUSES

    def _take_note_of_throttling(self, request: Request) -> None:
        throttled = request.result is Result.THROTTLED
        if throttled or self._refusal is not None:
            self._refusal = request if throttled else None
            self._changed.set()
        if throttled and (request.retry_after or 0.0) > self._left:
            self._too_long = request.retry_after
        self._tell_of_pause(request)

    def _tell_of_pause(self, request: Request) -> None:
        throttled = request.result is Result.THROTTLED
        pause = self._limiter.pause_left
        until = asyncio.get_running_loop().time() + pause
        if pause >= LONG_PAUSE and (throttled or request.retry_after is not None):
            if until <= self._told_until + 1.0:
                return
            self._told_until = until
            if not throttled:
                self._tell(f"the portal {asks_to_wait(pause)}: its quota is used up")
            elif request.retry_after is not None and request.retry_after * (1.0 + 2 * JITTER) >= pause:
                self._tell(f"the portal {asks_to_wait(request.retry_after)}")
            else:
                self._tell(f"the portal asks to slow down: sending again in {pause:.0f} s")
        elif self._told_until and not throttled and not pause:
            self._told_until = 0.0
            self._tell("")

    async def _until_it_answers(self) -> Request:
        if (suspects := self._suspects) or self._breaker.doubtful:
            # Perhaps it was those pairs; then the portal is at work, and no time is to be lost.
            request = await self._question()
            if request.result in _WORKS:
                if suspects:
                    # They were too few to say more; if it is all pairs that fail, the breaker will tell.
                    self._silence.it_is_the_pairs()
                else:
                    self._failing_since = None
                    self._begin_anew()
                return request
        while True:
            await self._while_paused()
            wait = min(self._wait, self._time_left())
            self._tell(f"the portal fails: asking again in {wait:.0f} s")
            await asyncio.sleep(wait)
            # Also after an answer: if the pairs go on failing, the next outage begins where this one ended.
            self._wait = min(self._wait * 2, LONGEST_WAIT)
            request = await self._question()
            throttled = request.result is Result.THROTTLED and request.reason not in BUSY_OR_CLOSED
            if request.result in _WORKS or throttled:
                self._begin_anew()
                return request

    def _begin_anew(self) -> None:
        self._breaker.close()
        self._silence.begin_anew()

    async def _while_paused(self) -> None:
        """Wait as long as the user wants nothing to be sent: that is no failure of the portal."""
        while self._limiter.is_held(USER):
            self._changed.clear()
            await self._changed.wait()

    async def _question(self) -> Request:
        await self._while_paused()
        request = await self._ask()
        self._unreachable = request.http_status is None
        self._refusal = request if request.result is Result.THROTTLED else None
        return request

    @property
    def _left(self) -> float:
        """Seconds until it is time to give up."""
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            # An answer that was on its way when the breaker opened: the portal worked until now.
            self._failing_since = now
        return self._failing_since + self._give_up_after - now

    def _time_left(self) -> float:
        """Seconds until it is given up.

        Raises:
            OutageError, PortalClosed, PortalUnreachable: it is time.
        """
        if (left := self._left) > 0:
            return left
        lasted = format_duration(self._give_up_after)
        why = "" if self._refusal is None else self._refusal.reason
        if why == MAINTENANCE:
            raise PortalClosed(
                f"the portal has answered 503 for {lasted}, {MAINTENANCE}: {HINTS[MAINTENANCE]}"
            )
        if self._refusal is not None and why not in BUSY_OR_CLOSED:
            raise OutageError(f"the portal has only asked to slow down for {lasted}")
        if self._unreachable:
            raise PortalUnreachable(f"the portal has not been reachable for {lasted}")
        raise OutageError(f"the portal has failed for {lasted}")
