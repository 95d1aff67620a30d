"""Decide what follows an attempt. Pure: no clock, no sleep, no I/O.

Waiting is not failing: a throttled attempt says that the portal is busy and nothing about the pair, so it
does not count against ``max_attempts``; it has a bound of its own, so that no pair is tried for ever.
"""

from dataclasses import dataclass
from random import Random

from worker.models import Attempt, Result, Status

SERVER_ERROR = "server_error"
"""Reason of an HTTP 500: often the pair's own fault, so it is repeated less than a proxy's 502."""

INTERNAL_FAULT = "internal_fault"
"""Reason of a 403 that hides an internal fault (contract 3.2): one repeat tells whether it was one."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The pair has its last word."""

    status: Status
    reason: str = ""
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Try again after ``seconds``; nothing is held meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reread:
    """Attempts are used up and at least one may have been stored: only the portal's members can tell."""


Step = Settle | RetryIn | Reread


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on how often and how long a pair is tried.

    Attributes:
        max_attempts: requests that count, over all reasons.
        max_server_errors: HTTP 500 answers after which more of them are not worth sending.
        max_internal_faults: 403 answers that claim an internal fault.
        max_throttled: throttled answers, which do not count as attempts.
        max_seconds: time spent sending and backing off; time in our own queue is not counted.
        base: ceiling of the first backoff, in seconds; it doubles with each further one.
        cap: highest ceiling, in seconds.
    """

    max_attempts: int = 5
    max_server_errors: int = 3
    max_internal_faults: int = 2
    max_throttled: int = 100
    max_seconds: float = 600.0
    base: float = 0.5
    cap: float = 30.0

    def after(self, attempts: tuple[Attempt, ...], spent: float, rng: Random) -> Step:
        """Judge the last of ``attempts``, made within ``spent`` seconds of trying."""
        last = attempts[-1]
        if last.result is Result.OK:
            return Settle(Status.LINKED, http_status=last.http_status)
        refused = last.result is Result.PERMANENT
        if not refused and not self._used_up(attempts, spent):
            return RetryIn(self._backoff(attempts, rng))
        # A refusal, too, says nothing about an earlier request whose answer was lost.
        if any(a.result is Result.AMBIGUOUS for a in attempts):
            return Reread()
        return Settle(Status.REJECTED if refused else Status.RETRYABLE, last.reason, last.http_status)

    def after_reread(self, attempts: tuple[Attempt, ...], reread: Attempt) -> Settle | Reread:
        """Judge what the portal's members said: the link is there, is not there, or cannot be read.

        Args:
            attempts: all that was sent before, throttled rereads too.
            reread: the request for the members.
        """
        if reread.result is Result.OK:
            return Settle(Status.LINKED, http_status=reread.http_status)
        throttled = sum(a.result is Result.THROTTLED for a in (*attempts, reread))
        if reread.result is Result.THROTTLED and throttled < self.max_throttled:
            return Reread()
        cause = next(a for a in reversed(attempts) if a.result is not Result.THROTTLED)
        status = Status.UNKNOWN
        if reread.result is Result.TRANSIENT:
            refused = cause.result is Result.PERMANENT or cause.reason == INTERNAL_FAULT
            status = Status.REJECTED if refused else Status.RETRYABLE
        return Settle(status, cause.reason, cause.http_status)

    def _used_up(self, attempts: tuple[Attempt, ...], spent: float) -> bool:
        throttled = sum(a.result is Result.THROTTLED for a in attempts)
        last_reason = attempts[-1].reason
        alike = sum(a.reason == last_reason for a in attempts)
        return (
            spent >= self.max_seconds
            or throttled >= self.max_throttled
            or len(attempts) - throttled >= self.max_attempts
            or (last_reason == SERVER_ERROR and alike >= self.max_server_errors)
            or (last_reason == INTERNAL_FAULT and alike >= self.max_internal_faults)
        )

    def _backoff(self, attempts: tuple[Attempt, ...], rng: Random) -> float:
        if attempts[-1].result is Result.THROTTLED:
            # The limiter already holds everyone back; a wait of the pair's own would come on top.
            return 0.0
        failed = sum(a.result is not Result.THROTTLED for a in attempts)
        # Jitter after the cap: clamping a jittered value would line all pairs up again at the cap.
        return rng.uniform(0.0, min(self.cap, self.base * 2.0 ** (failed - 1)))
