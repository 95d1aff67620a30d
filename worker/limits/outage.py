"""Wait out a portal that fails or throttles: ask now and then, go on when it answers, or give up."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from worker.errors import OutageError, PortalUnreachable
from worker.limits.breaker import Breaker
from worker.limits.limiter import Limiter
from worker.models import Kind, Request, Result
from worker.quantities import format_duration

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between two questions; the wait doubles from the first to the longest."""

LONG_PAUSE = 5.0
"""Seconds; a pause that the portal asks for is told to the user from this length on."""

_WORKS = {Result.OK, Result.PERMANENT}
_QUESTIONS = {Kind.PROBE, Kind.LOGIN}


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
        self._limiter = limiter
        self._ask = ask
        self._give_up_after = give_up_after
        self._tell = tell
        self._changed = asyncio.Event()
        self._wait = FIRST_WAIT
        self._unreachable = False
        self._held = False
        self._throttled = False
        self._told_until = 0.0
        self._failing_since: float | None = None

    def observe(self, request: Request) -> None:
        """Learn from a request, after the limiter has; after one failure too many everyone is held."""
        if request.kind in _QUESTIONS:
            return  # that it answers those is no work done
        self._breaker.observe(request)
        if request.result in _WORKS:
            self._wait = FIRST_WAIT
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = asyncio.get_running_loop().time()
        self._take_note_of_throttling(request)
        if self._breaker.is_open:
            self._limiter.hold()
            self._held = True
            self._changed.set()

    async def watch(self) -> None:
        """Wait for trouble, and each time for its end. Runs until cancelled.

        Raises:
            OutageError: the portal has answered, but not worked, for too long.
            PortalError: it refuses us, or has not answered at all for too long.
        """
        while True:
            if self._held:  # the breaker itself may have heard of good answers since
                answer = await self._until_it_answers()
                self._held = False
                self._breaker.close()
                self._tell("")
                self._limiter.let_go()
                self._take_note_of_throttling(answer)
            left = self._time_left() if self._throttled else None
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
            self._changed.clear()

    def _take_note_of_throttling(self, request: Request) -> None:
        throttled = request.result is Result.THROTTLED
        if throttled is not self._throttled:
            self._throttled = throttled
            self._changed.set()
        pause = self._limiter.pause_left
        until = asyncio.get_running_loop().time() + pause
        if throttled and pause >= LONG_PAUSE and until > self._told_until + 1.0:
            note = f"the portal asks to slow down: sending again in {pause:.0f} s"
            if request.retry_after is not None and request.retry_after > pause + 1.0:
                note += f" (it names {format_duration(request.retry_after)})"
            self._told_until = until
            self._tell(note)
        elif self._told_until and not throttled:
            self._told_until = 0.0
            self._tell("")

    async def _until_it_answers(self) -> Request:
        if self._breaker.doubtful:
            # Perhaps it was those pairs; then the portal is at work, and no time is to be lost.
            request = await self._question()
            if request.result in _WORKS:
                self._failing_since = None
                return request
        while True:
            wait = min(self._wait, self._time_left())
            self._tell(f"the portal fails: asking again in {wait:.0f} s")
            await asyncio.sleep(wait)
            # Also after an answer: if the pairs go on failing, the next outage begins where this one ended.
            self._wait = min(self._wait * 2, LONGEST_WAIT)
            request = await self._question()
            if request.result in _WORKS or request.result is Result.THROTTLED:
                return request

    async def _question(self) -> Request:
        request = await self._ask()
        self._unreachable = request.http_status is None
        return request

    def _time_left(self) -> float:
        """Seconds until it is given up.

        Raises:
            OutageError, PortalUnreachable: it is time.
        """
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            # An answer that was on its way when the breaker opened: the portal worked until now.
            self._failing_since = now
        left = self._failing_since + self._give_up_after - now
        if left > 0:
            return left
        lasted = format_duration(self._give_up_after)
        if self._throttled:
            raise OutageError(f"the portal has only asked to slow down for {lasted}")
        if self._unreachable:
            raise PortalUnreachable(f"the portal has not been reachable for {lasted}")
        raise OutageError(f"the portal has failed for {lasted}")
