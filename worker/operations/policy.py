"""Decide what follows an attempt. Pure: no clock, no sleep, no I/O.

Waiting is not failing: a throttled attempt says that the portal is busy and nothing about the pair, so it
does not count against ``max_attempts``; it has a bound of its own, so that no pair is tried for ever.
"""

from dataclasses import dataclass
from random import Random

import msgspec

from worker.models import Attempt, Result, Status
from worker.reasons import BUSY_OR_CLOSED, INTERNAL_FAULT, PERHAPS_LINKED, SERVER_ERROR

# Up to Python 3.11 each look at a word of an Enum is a call; here it would be one for each pair.
_OK, _LINKED = Result.OK, Status.LINKED


class Settle(msgspec.Struct, frozen=True):
    """The pair has its last word."""

    status: Status
    reason: str = ""
    http_status: int | None = None


class RetryIn(msgspec.Struct, frozen=True):
    """Try again after ``seconds``; nothing is held meanwhile."""

    seconds: float


class Reread(msgspec.Struct, frozen=True):
    """Nothing may be sent for now, and something may have been stored: only the portal's members can tell.

    Attributes:
        seconds: to wait before they are asked.
    """

    seconds: float = 0.0


Step = Settle | RetryIn | Reread


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on how often and how long a pair is tried.

    Attributes:
        max_attempts: requests that count, over all reasons.
        max_server_errors: HTTP 500 answers of one kind after which more of them are not worth sending.
        max_internal_faults: 403 answers that claim an internal fault.
        max_throttled: throttled answers, which do not count as attempts.
        max_unexplained: those of them that do not speak of our pace: when other pairs go through meanwhile,
            it may be this one.
        max_unreadable: times that the members cannot be read before it stays unknown what they would say.
        max_seconds: time spent sending and backing off; time in our own queue is not counted.
        base: ceiling of the first backoff, in seconds; it doubles with each further one.
        cap: highest ceiling, in seconds.
    """

    max_attempts: int = 5
    max_server_errors: int = 3
    max_internal_faults: int = 2
    max_throttled: int = 100
    max_unexplained: int = 20
    max_unreadable: int = 3
    max_seconds: float = 600.0
    base: float = 0.5
    cap: float = 30.0

    def after(
        self, attempts: tuple[Attempt, ...], spent: float, rng: Random, *, in_doubt: bool = False
    ) -> Step:
        """Judge the last of ``attempts``, made within ``spent`` seconds of trying.

        Args:
            attempts: all that was sent so far, at least one.
            spent: seconds.
            rng: source of jitter.
            in_doubt: something may have been stored before them.
        """
        last = attempts[-1]
        if last.result is _OK:
            return Settle(_LINKED, http_status=last.http_status)
        refused = last.result is Result.PERMANENT
        if not refused and not self._used_up(attempts, spent):
            return RetryIn(self._backoff(attempts, rng))
        # A refusal, too, says nothing about an earlier request whose answer was lost.
        if in_doubt or any(a.result is Result.AMBIGUOUS for a in attempts):
            return Reread()
        return Settle(Status.REJECTED if refused else Status.RETRYABLE, last.reason, last.http_status)

    def after_look(self, looks: tuple[Attempt, ...], rng: Random) -> Step:
        """Judge a look at the members for a pair that an earlier session may have sent.

        What they cannot tell is no reason to give the pair up: to send it once more is safe (contract 4.1).

        Args:
            looks: all requests for the members so far, at least one.
            rng: source of jitter.
        """
        if looks[-1].result is Result.OK:
            return Settle(Status.LINKED, http_status=looks[-1].http_status)
        return self.look_again(looks, rng) or RetryIn(0.0)

    def after_reread(
        self, attempts: tuple[Attempt, ...], rereads: tuple[Attempt, ...], rng: Random
    ) -> Settle | Reread:
        """Judge what the portal's members said: the link is there, is not there, or cannot be read.

        Args:
            attempts: all that was sent before.
            rereads: all requests for the members after it, at least one.
            rng: source of jitter.
        """
        reread = rereads[-1]
        if reread.result is Result.OK:
            return Settle(Status.LINKED, http_status=reread.http_status)
        if again := self.look_again(rereads, rng):
            return again
        cause = next((a for a in reversed(attempts) if a.result is not Result.THROTTLED), attempts[-1])
        status = Status.UNKNOWN
        if reread.result is Result.TRANSIENT:
            refused = cause.result is Result.PERMANENT or cause.reason == INTERNAL_FAULT
            status = Status.REJECTED if refused else Status.RETRYABLE
        return Settle(status, cause.reason, cause.http_status)

    def look_again(self, looks: tuple[Attempt, ...], rng: Random) -> Reread | None:
        """The next look at the members; None if this was the last: they told, or will not tell.

        Args:
            looks: all requests for them so far, at least one.
            rng: source of jitter.
        """
        last = looks[-1]
        if last.result not in (Result.THROTTLED, Result.AMBIGUOUS):
            return None
        throttled = sum(a.result is Result.THROTTLED for a in looks)
        if self._throttled_too_often(looks) or len(looks) - throttled >= self.max_unreadable:
            return None
        return Reread(self._backoff(looks, rng))

    def _used_up(self, attempts: tuple[Attempt, ...], spent: float) -> bool:
        throttled = sum(a.result is Result.THROTTLED for a in attempts)
        last_reason = attempts[-1].reason
        alike = sum(a.reason == last_reason for a in attempts)
        return (
            spent >= self.max_seconds
            or self._throttled_too_often(attempts)
            or len(attempts) - throttled >= self.max_attempts
            or (last_reason in {SERVER_ERROR, PERHAPS_LINKED} and alike >= self.max_server_errors)
            or (last_reason == INTERNAL_FAULT and alike >= self.max_internal_faults)
        )

    def _throttled_too_often(self, attempts: tuple[Attempt, ...]) -> bool:
        throttled = [a.reason for a in attempts if a.result is Result.THROTTLED]
        unexplained = sum(reason in BUSY_OR_CLOSED for reason in throttled)
        return len(throttled) >= self.max_throttled or unexplained >= self.max_unexplained

    def _backoff(self, attempts: tuple[Attempt, ...], rng: Random) -> float:
        if attempts[-1].result is Result.THROTTLED:
            # The limiter already holds everyone back; a wait of the pair's own would come on top.
            return 0.0
        failed = sum(a.result is not Result.THROTTLED for a in attempts)
        # Jitter after the cap: clamping a jittered value would line all pairs up again at the cap.
        return rng.uniform(0.0, min(self.cap, self.base * 2.0 ** (failed - 1)))
