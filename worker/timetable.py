"""Rates that change with the time of day, as users write them: ``mon-fri 08:00-19:00=5/s,50/s``. Pure."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.quantities import Rate, parse_rate

_LONGEST = 400
"""Characters; what is longer is no timetable that a person writes."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK = len(_DAYS)
_MINUTES = 24 * 60
_DAY = "|".join(_DAYS)
_TIME = r"(\d\d?):(\d\d)"
_WHEN = re.compile(rf"(?:({_DAY})(?:\s*-\s*({_DAY}))?)?\s*(?:{_TIME}\s*-\s*{_TIME})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """A rate and when it holds, by the clock on the wall.

    Attributes:
        first: day of the week on which it begins, the first of a row of such days; 0 is Monday.
        days: how many days in a row.
        begin: minute of the day.
        end: minute of the day from which on it does not hold; if it is before ``begin``, of the next day.
    """

    first: int
    days: int
    begin: int
    end: int
    rate: Rate

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether it holds then."""
        if self.begin < self.end:
            return self._is_on(weekday) and self.begin <= minute < self.end
        return (self._is_on(weekday) and minute >= self.begin) or (
            self._is_on(weekday - 1) and minute < self.end
        )

    def _is_on(self, weekday: int) -> bool:
        return (weekday - self.first) % _WEEK < self.days

    def __str__(self) -> str:
        days = _DAYS[self.first]
        if self.days > 1:
            days += f"-{_DAYS[(self.first + self.days - 1) % _WEEK]}"
        when = [] if self.days == _WEEK else [days]
        if (self.begin, self.end) != (0, _MINUTES) or not when:
            when.append(f"{_clock(self.begin)}-{_clock(self.end)}")
        return f"{' '.join(when)}={self.rate}"


@dataclass(frozen=True, slots=True)
class Timetable:
    """A rate for each time of the week; the first entry that holds counts, and ``rest`` if none does."""

    rest: Rate
    entries: tuple[Entry, ...] = ()

    def at(self, moment: datetime) -> tuple[Rate, float]:
        """The rate that holds at a moment, and in how many seconds another one does.

        Those seconds are infinite if it never changes. They are reckoned with the daylight saving time that
        the moment's zone knows of; in the hour of the change itself they may be too many, so who goes by them
        asks again every minute or so. That is wise anyway: clocks are set.
        """
        here = moment.replace(second=0, microsecond=0)
        rate = self._rate(here)
        changes = (
            change.timestamp() - moment.timestamp()
            for change in self._edges(here)
            if self._rate(change) != rate
        )
        return rate, min((seconds for seconds in changes if seconds > 0), default=math.inf)

    @property
    def fastest(self) -> Rate:
        """The highest of its rates."""
        return max((self.rest, *(entry.rate for entry in self.entries)), key=lambda rate: rate.per_second)

    def _rate(self, moment: datetime) -> Rate:
        weekday, minute = moment.weekday(), moment.hour * 60 + moment.minute
        return next((entry.rate for entry in self.entries if entry.holds(weekday, minute)), self.rest)

    def _edges(self, moment: datetime) -> Iterator[datetime]:
        """The moments of the next week at which an entry begins or ends."""
        midnight = moment.replace(hour=0, minute=0)
        for entry in self.entries:
            for minutes in (entry.begin, entry.end):
                for day in range(_WEEK + 1):
                    # As the clock shows it, which in the hour that comes twice is so twice.
                    edge = midnight + timedelta(days=day, minutes=minutes)
                    yield edge.replace(fold=0)
                    yield edge.replace(fold=1)

    def __str__(self) -> str:
        return ",".join(str(one) for one in (*self.entries, self.rest))


def parse_timetable(text: str) -> Timetable:
    """Read a rate like ``50/s``, or rates with times, such as ``08:00-19:00=5/s,50/s``.

    A time is ``08:00-19:00``, over midnight ``22:00-06:00``, a day ``sat`` or days ``mon-fri``, or both with
    a space between. The last rate has none: it is that of the rest.

    Raises:
        ValueError: it is no such thing.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{text[:40]!r}...: too long for a timetable")
    *timed, rest = (part.strip().lower() for part in text.split(","))
    if "=" in rest:
        raise ValueError(f"{text!r}: the last rate has no time, it is that of the rest: 08:00-19:00=5/s,50/s")
    return Timetable(parse_rate(rest), tuple(_entry(part) for part in timed))


def _entry(text: str) -> Entry:
    when, _, rate = text.partition("=")
    match = _WHEN.fullmatch(when.strip()) if when.strip() else None
    if match is None:
        raise ValueError(
            f"{text!r} is not a time and a rate like 08:00-19:00=5/s or mon-fri 22:00-06:00=50/s"
        )
    first, last, *clock = match.groups()
    begin, end = 0, _MINUTES
    if clock[0] is not None:
        begin, end = _minutes(text, *clock[:2]), _minutes(text, *clock[2:])
    if begin == end:
        raise ValueError(f"{text!r}: begins and ends at the same time; the whole day is 00:00-24:00")
    if first is None:
        return Entry(0, _WEEK, begin, end, parse_rate(rate))
    day = _DAYS.index(first)
    days = (_DAYS.index(last or first) - day) % _WEEK + 1
    return Entry(day, days, begin, end, parse_rate(rate))


def _minutes(text: str, hour: str, minute: str) -> int:
    minutes = int(hour) * 60 + int(minute)
    if int(minute) >= 60 or minutes > _MINUTES:  # noqa: PLR2004 - a clock
        raise ValueError(f"{text!r}: there is no {hour}:{minute} on a clock")
    return minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
