"""Wait out a portal that fails: send nothing, ask harmlessly now and then, go on when it answers."""

import asyncio
from collections.abc import Awaitable, Callable

from worker.breaker import Breaker
from worker.errors import OutageError, PortalUnreachable
from worker.limiter import Limiter
from worker.models import Attempt, Result
from worker.quantities import format_duration

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between two questions; the wait doubles from the first to the longest."""

_WORKS = {Result.OK, Result.PERMANENT}


class Outage:
    """Guards the pairs against a failing portal: rows that wait burn no attempts.

    Args:
        look: asks the portal for something harmless.
        give_up_after: seconds without a single pair that the portal worked on.
        tell: told what is going on, in words for the user.
    """

    def __init__(
        self,
        limiter: Limiter,
        look: Callable[[], Awaitable[Attempt]],
        give_up_after: float,
        tell: Callable[[str], None],
    ) -> None:
        self._breaker = Breaker()
        self._limiter = limiter
        self._look = look
        self._give_up_after = give_up_after
        self._tell = tell
        self._opened = asyncio.Event()
        self._wait = FIRST_WAIT
        self._unreachable = False
        self._worked_at = asyncio.get_running_loop().time()

    def observe(self, attempt: Attempt) -> None:
        """Learn from an attempt; if it was one failure too many, everyone is held from now on."""
        self._breaker.observe(attempt)
        if attempt.result in _WORKS:
            self._wait = FIRST_WAIT
            self._worked_at = asyncio.get_running_loop().time()
        if self._breaker.is_open:
            self._limiter.hold()
            self._opened.set()

    async def watch(self) -> None:
        """Wait for outages, and each of them out. Runs until cancelled.

        Raises:
            OutageError: the portal has answered, but not worked, for too long.
            PortalError: it refuses us, or has not answered at all for too long.
        """
        while True:
            await self._opened.wait()
            await self._until_it_answers()
            self._breaker.close()
            self._opened.clear()
            self._tell("")
            self._limiter.let_go()

    async def _until_it_answers(self) -> None:
        clock = asyncio.get_running_loop().time
        answers = False
        while not answers:
            left = self._worked_at + self._give_up_after - clock()
            if left <= 0:
                lasted = format_duration(self._give_up_after)
                if self._unreachable:
                    raise PortalUnreachable(f"the portal has not been reachable for {lasted}")
                raise OutageError(f"the portal has failed for {lasted}")
            self._tell(f"the portal fails: asking again in {min(self._wait, left):.0f} s")
            await asyncio.sleep(min(self._wait, left))
            # Also after an answer: if the pairs go on failing, the next outage begins where this one ended.
            self._wait = min(self._wait * 2, LONGEST_WAIT)
            attempt = await self._look()
            self._limiter.observe(attempt)
            self._unreachable = attempt.http_status is None
            answers = attempt.result in _WORKS or attempt.result is Result.THROTTLED
