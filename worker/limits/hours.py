"""Limits by the time of day: what the timetables say holds, and at each edge something else does."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from worker.limits.limiter import Limiter
from worker.quantities import Rate
from worker.timetable import Timetable

LOOK_AGAIN = 30.0
"""Seconds after which the clock on the wall is looked at again: it may be set, or have stood still."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How much may be sent, at any time of the week.

    Attributes:
        rate: of requests.
        link_rate: of links; None for as many as come.
        now: gives the time on the wall, where the timetables are meant.
    """

    rate: Timetable
    link_rate: Timetable | None
    now: Callable[[], datetime]

    def at_present(self) -> tuple[Rate, Rate | None, float]:
        """The rate of requests and of links, and after how many seconds to ask again."""
        now = self.now()
        rate, seconds = self.rate.at(now)
        if self.link_rate is None:
            return rate, None, min(seconds, LOOK_AGAIN)
        link_rate, sooner = self.link_rate.at(now)
        return rate, link_rate, min(seconds, sooner, LOOK_AGAIN)


class Hours:
    """Keeps a limiter to the rates that hold.

    Args:
        rates: of all times; those of the present are the limiter's already.
        limiter: is changed.
        tell: told of each change, in words for the user.
    """

    def __init__(self, rates: Rates, limiter: Limiter, tell: Callable[[str], None]) -> None:
        self._rates = rates
        self._limiter = limiter
        self._tell = tell
        self._news = asyncio.Event()
        self._holding = rates.at_present()[:2]
        self._slower: Rate | None = None

    @property
    def stated(self) -> Rate:
        """Most requests that may be sent just now, by the timetable."""
        return self._rates.at_present()[0]

    def change(self, rates: Rates) -> None:
        """Go on by other timetables, from now on."""
        self._rates = rates
        self._slower = None
        self._apply()
        self._news.set()

    def slow_to(self, rate: Rate) -> None:
        """Send no more than that, nor more than the timetable says, until there is another timetable."""
        self._slower = rate
        self._apply()

    async def follow(self) -> None:
        """Change the limiter whenever another rate begins to hold. Runs until cancelled."""
        while True:
            before = self._holding
            seconds = self._apply()
            if self._holding != before:
                self._tell(f"timetable: now {spoken(*self._holding)}")
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()

    def _apply(self) -> float:
        rate, link_rate, seconds = self._rates.at_present()
        if self._slower is not None:
            rate = rate.at(min(rate.per_second, self._slower.per_second))
        if (rate, link_rate) != self._holding:
            self._holding = rate, link_rate
            self._limiter.change(rate, link_rate)
        return seconds


def spoken(rate: Rate | Timetable, link_rate: Rate | Timetable | None) -> str:
    """Both rates, for the user."""
    return f"{rate}" if link_rate is None else f"{rate} and links {link_rate}"
