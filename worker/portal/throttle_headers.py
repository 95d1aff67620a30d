"""What the headers of an answer say about how fast we may send. Pure: no clock, no I/O.

Read in this order; what cannot be read counts as not sent, and the next is looked at:

1. ``Retry-After`` of a 429 or a 5xx: seconds, or a date;
2. ``RateLimit`` with ``RateLimit-Policy``, as the IETF drafts them: ``"default";r=0;t=30`` and
   ``"default";q=100;w=60``;
3. ``RateLimit-Remaining`` with ``-Reset`` and ``-Limit`` (its earlier versions);
4. the same with ``X-`` in front, as many portals' proxies send them.

The last three tell of a quota, also with an answer that is a success: the one that used it up can say so
before anything has to be refused.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from worker.quantities import parse_rate

LONGEST = 366 * 86_400.0
"""Seconds; a longer time to wait is a mistake of whoever named it, and none was named."""

_TOO_LONG = 1000
"""Characters of a header that are more than a list of quotas has."""

_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_QUOTED = re.compile(r'"([^"]*)"')

_EPOCH, _EPOCH_MS = 1e9, 1e12
"""From here on a reset is not a number of seconds to wait but a moment, in seconds or in ms since 1970."""

_REFUSED = frozenset({429, 503})
_FAILED = frozenset({429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Advice:
    """What an answer says about our pace.

    Attributes:
        wait: seconds from now that everyone is asked to wait, 0 to :data:`LONGEST`; None if no time is named.
            Of a success: until there is a new quota, if this answer used up the old one.
        is_paced: it speaks of our pace at all, be it in a way that cannot be read. A refusal that does not
            may come from a portal that is closed (contract 3.4).
    """

    wait: float | None = None
    is_paced: bool = False


NO_ADVICE = Advice()


def read_advice(status: int, headers: Mapping[str, str], now: float) -> Advice:
    """Read what the headers say.

    Args:
        status: of the answer.
        headers: of the answer; names in any case.
        now: seconds since the epoch by our clock, in case the answer has no usable ``Date``: a moment that
            the portal names is compared with the portal's own clock.
    """
    if status in _FAILED and (named := headers.get("Retry-After")) is not None:
        clock = _clock(headers, now)
        wait = _delay(named, clock)
        return Advice(_quota_wait(headers, clock, refused=True) if wait is None else wait, is_paced=True)
    if not any(name in headers for name in _SIGNS):
        return NO_ADVICE
    wait = _quota_wait(headers, _clock(headers, now), refused=status in _REFUSED)
    return NO_ADVICE if wait is None else Advice(wait, is_paced=True)


_SIGNS = ("RateLimit", "RateLimit-Remaining", "X-RateLimit-Remaining", "RateLimit-Reset", "X-RateLimit-Reset")


@dataclass(frozen=True, slots=True)
class _Quota:
    """How much is left.

    Attributes:
        remaining: requests; None if it is not said.
        reset: seconds until there are more.
        window: seconds from a full quota to the next, which bounds the reset.
    """

    remaining: float | None
    reset: float | None = None
    window: float | None = None

    def wait(self, *, refused: bool) -> float | None:
        """Seconds to wait for more; None if there is some left, or nobody says for how long."""
        spent = refused if self.remaining is None else self.remaining < 1.0
        times = [time for time in (self.reset, self.window) if time is not None]
        return min(times) if spent and times else None


def _quota_wait(headers: Mapping[str, str], clock: float, *, refused: bool) -> float | None:
    """Seconds until none of the quotas is used up, by the first kind of headers that can be read."""
    for quotas in (
        _ietf(headers),
        _separate("RateLimit", headers, clock),
        _separate("X-RateLimit", headers, clock),
    ):
        if quotas:
            waits = [wait for quota in quotas if (wait := quota.wait(refused=refused)) is not None]
            return max(waits, default=None)
    return None


def _ietf(headers: Mapping[str, str]) -> list[_Quota]:
    """Quotas of ``RateLimit``: one for each policy, or the one of the draft's version 7."""
    windows = {name: _number(said.get("w")) for name, said in _items(headers.get("RateLimit-Policy"))}
    quotas = []
    flat: dict[str, str] = {}
    for name, said in _items(headers.get("RateLimit")):
        key, is_flat, value = name.partition("=")
        if is_flat:
            flat[key.strip().lower()] = value.strip()
        elif (remaining := _number(said.get("r"))) is not None:
            quotas.append(_Quota(remaining, _number(said.get("t")), windows.get(name)))
    if (remaining := _number(flat.get("remaining"))) is not None:
        quotas.append(_Quota(remaining, _number(flat.get("reset"))))
    return quotas


def _separate(prefix: str, headers: Mapping[str, str], clock: float) -> list[_Quota]:
    """The quota that is told in headers of its own."""
    remaining = _number(_first(headers.get(f"{prefix}-Remaining")))
    reset = _reset(_first(headers.get(f"{prefix}-Reset")), clock)
    if remaining is None and reset is None:
        return []
    return [_Quota(remaining, reset, _window(headers.get(f"{prefix}-Limit")))]


def _window(limit: str | None) -> float | None:
    """Seconds of a limit such as ``100/30m`` or ``100, 100;w=60``: the longest that it names."""
    windows = [_number(said.get("w")) for _, said in _items(limit)]
    for name, _ in _items(limit):
        try:
            windows.append(_bounded(parse_rate(name).period))
        except ValueError:
            continue
    return max((window for window in windows if window is not None), default=None)


def _items(value: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """The members of a list, each with its parameters."""
    if value is None or len(value) > _TOO_LONG:
        return
    # Names are there to be compared. As hexadecimal digits they hold nothing that separates.
    plain = _QUOTED.sub(lambda quoted: quoted[1].encode("utf-8", "surrogatepass").hex(), value)
    for member in plain.split(","):
        name, *parameters = member.split(";")
        pairs = (parameter.partition("=") for parameter in parameters)
        yield name.strip(), {key.strip().lower(): said.strip() for key, _, said in pairs}


def _first(value: str | None) -> str | None:
    """What a list begins with, without parameters."""
    return next((name for name, _ in _items(value)), None)


def _reset(value: str | None, clock: float) -> float | None:
    """Seconds until a reset that is told in seconds, as seconds or milliseconds since 1970, or as a date."""
    if value is None or not _SECONDS.fullmatch(value):
        return None
    number = float(value)
    if number < _EPOCH:
        return _bounded(number)
    return _bounded(number / (1000.0 if number >= _EPOCH_MS else 1.0) - clock)


def _number(value: str | None) -> float | None:
    return _bounded(float(value)) if value is not None and _SECONDS.fullmatch(value) else None


def _delay(value: str, clock: float) -> float | None:
    """Seconds of a ``Retry-After``."""
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return _bounded(float(text))
    until = _epoch(text)
    return None if until is None else _bounded(until - clock)


def _bounded(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= LONGEST else None


def _clock(headers: Mapping[str, str], now: float) -> float:
    sent_at = _epoch(headers.get("Date", ""))
    return now if sent_at is None else sent_at


def _epoch(value: str) -> float | None:
    try:
        time = parsedate_to_datetime(value)
        # The two obsolete forms of RFC 9110 may lack a zone; all forms are in GMT.
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
