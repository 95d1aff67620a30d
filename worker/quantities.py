"""Quantities as users write and read them: ``30s``, ``500/10s``, ``5%``, ``2,000 rows``. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

_LONGEST = 30
"""Characters; what is longer is no quantity a person writes, and numbers of Python end somewhere."""

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h|d)?", re.ASCII)
_ERRORS = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?", re.ASCII)
_SHARE_COUNTS_FROM = 100
_RATE = re.compile(r"(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(ms|s|sec|m|min|h|d)", re.ASCII)

_SHORTEST_WINDOW = 0.01
"""Seconds. A turn may be late by a part of its window, and a timer always is, by tenths of a millisecond."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` requests in any window of ``period`` seconds."""

    limit: int
    period: float

    @property
    def per_second(self) -> float:
        """The same limit as a mean, in requests per second."""
        return self.limit / self.period

    def at(self, per_second: float) -> "Rate":
        """As many requests in a longer or shorter window, so that they are so many a second on the mean."""
        if per_second == self.per_second:
            return self
        return Rate(self.limit, self.limit / per_second)

    def __str__(self) -> str:
        window = format_duration(self.period)
        return f"{self.limit}/{window.removeprefix('1') if window in {'1s', '1m', '1h', '1d'} else window}"


def parse_rate(text: str) -> Rate:
    """Read ``50/s``, ``500/10s`` or ``1500/min``.

    Raises:
        ValueError: not such a rate, a limit or period of zero, or a period that is too short.
    """
    match = _RATE.fullmatch(text.strip().lower()) if len(text) <= _LONGEST else None
    if not match or not int(match[1]) or (match[2] is not None and not float(match[2])):
        raise ValueError(f"{text!r} is not a rate like 50/s, 500/10s or 1500/min")
    period = float(match[2] or 1) * _UNITS[match[3]]
    if period < _SHORTEST_WINDOW:
        raise ValueError(f"{text!r}: no timer keeps to a window of less than {_SHORTEST_WINDOW * 1000:.0f}ms")
    return Rate(limit=int(match[1]), period=period)


@dataclass(frozen=True, slots=True)
class ErrorLimit:
    """At most ``count`` failed pairs, or at most ``percent`` of those that have an outcome."""

    count: int | None = None
    percent: float | None = None

    def passed(self, failed: int, settled: int) -> bool:
        """Whether that is too many. A share of few says nothing: it counts from the 100th outcome on."""
        if self.count is not None:
            return failed > self.count
        return settled >= _SHARE_COUNTS_FROM and failed * 100 > (self.percent or 0.0) * settled

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


def parse_error_limit(text: str) -> ErrorLimit:
    """Read ``100`` or ``5%``.

    Raises:
        ValueError: neither a whole number nor a share of 0 to 100 percent.
    """
    match = _ERRORS.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match and match[2] and float(match[1]) <= 100:  # noqa: PLR2004 - percent
        return ErrorLimit(percent=float(match[1]))
    if match and not match[2] and "." not in match[1]:
        return ErrorLimit(count=int(match[1]))
    raise ValueError(f"{text!r} is not a number like 100 or a share like 5%")


def format_moment(time: float) -> str:
    """A time since the epoch as the clock on the wall shows it, with date and zone."""
    return datetime.fromtimestamp(time, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def parse_duration(text: str) -> float:
    """Read ``30s``, ``5m``, ``2h`` or a bare number of seconds; the result is in seconds.

    Raises:
        ValueError: not such a duration.
    """
    match = _DURATION.fullmatch(text.strip().lower()) if len(text) <= _LONGEST else None
    if not match:
        raise ValueError(f"{text!r} is not a duration like 30s, 5m or 2h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def format_duration(seconds: float) -> str:
    """Write seconds as the shortest exact form that :func:`parse_duration` reads: ``90s``, ``2h``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{Decimal(repr(seconds)).normalize():f}s"


def format_clock(seconds: float) -> str:
    """Write seconds as a clock that runs down shows them: ``0:07``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, one: str) -> str:
    """A number and its noun: ``1 retry``, ``2,000 rows``."""
    return f"{count:,} {noun(count, one)}"


def noun(count: int, one: str) -> str:
    """The noun for so many; ``one`` is that for one of them."""
    if count == 1:
        return one
    return f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
