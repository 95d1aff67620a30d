"""How often, and for how long, a request that is about no pair is made again: the probe and the log-in."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from worker.errors import PortalUnreachable
from worker.limits.waits import TOO_LONG, asks_to_wait
from worker.quantities import format_duration

MOST = 4
"""Requests that fail; one that is throttled does not count."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds between two tries; the pause doubles from the first to the longest, unless a time is named."""

LATER = 30.0
"""Seconds between two tries of who goes on after the usual ones: more than five log-ins in a minute lock the
account (contract 6.4)."""

LONG_PAUSE = 5.0
"""Seconds; from this length on a pause is told to the user."""


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Waiting:
    """How waits are bounded, and who hears of them.

    Attributes:
        give_up_after: seconds for which the portal may throttle us.
        tell: told of a long wait, in words for the user; of its end with an empty text.
        is_patient: it may also fail for so long, as in the middle of the work it may.
    """

    give_up_after: float = 900.0
    tell: Callable[[str], None] = _say_nothing
    is_patient: bool = False


class Tries:
    """The tries of one request.

    Args:
        origin: the portal, as messages name it.
        waiting: bounds them.

    Attributes:
        made: tries that are over.
    """

    def __init__(self, origin: str, waiting: Waiting) -> None:
        self._origin = origin
        self._waiting = waiting
        self._throttled = 0
        self._told = False
        self._give_up_at = asyncio.get_running_loop().time() + waiting.give_up_after
        self.made = 0

    async def again(self, named: float | None, *, throttled: bool) -> bool:
        """Wait until the next try is due; False if there is to be none.

        Args:
            named: seconds that the answer asks to wait; None if it names no time.
            throttled: that we are to be slower is all that it says.

        Raises:
            PortalUnreachable: the portal has throttled us for too long, or asks to wait for too long.
        """
        self.made += 1
        self._throttled += throttled
        goes_on = not throttled and self.made - self._throttled >= MOST
        left = self._give_up_at - asyncio.get_running_loop().time()
        if goes_on and (not self._waiting.is_patient or left <= 0):
            return False
        pause = min(FIRST_PAUSE * 2.0 ** min(self.made - 1, 16), LONGEST_PAUSE)
        if named is not None:
            pause = max(named, pause if throttled and self._throttled > 1 else 0.0)
        if throttled:
            lasted = format_duration(self._waiting.give_up_after)
            if left <= 0:
                raise PortalUnreachable(f"{self._origin}: has only asked to slow down for {lasted}")
            if named is not None and named > left:
                raise PortalUnreachable(f"{self._origin}: {asks_to_wait(named)}; {TOO_LONG.format(lasted)}")
            pause = min(pause, left)
            self._tell(pause, named)
        else:
            pause = min(max(pause, LATER if goes_on else 0.0), LONGEST_PAUSE)
        if goes_on:
            pause = min(pause, left)
            self._told = True
            self._waiting.tell(f"the portal fails: logging in again in {pause:.0f} s")
        await asyncio.sleep(pause)
        return True

    def end(self) -> None:
        """There was an answer."""
        if self._told:
            self._waiting.tell("")

    def _tell(self, pause: float, named: float | None) -> None:
        if pause < LONG_PAUSE:
            return
        self._told = True
        self._waiting.tell(
            f"the portal asks to slow down: asking again in {pause:.0f} s"
            if named is None or named < pause
            else f"the portal {asks_to_wait(named)}"
        )
