"""Tell a portal that fails from pairs that fail. Pure: no clock, no sleep, no I/O."""

from collections import deque

from worker.models import Attempt, Result

WINDOW = 20
"""Attempts looked at; a portal on a normal day fails a few of them."""

FAILING_SHARE = 0.5

NOT_STORED = "not_stored"
"""Reason of a look at the members that shows no such link: a failure of the pair, not of the portal."""

_FAILED = {Result.TRANSIENT, Result.AMBIGUOUS}


class Breaker:
    """Opens when at least half of the last attempts say that the portal did not do its work.

    A throttled attempt says nothing here: the limiter knows what to do about it. A permanent one is a
    portal at work.
    """

    def __init__(self) -> None:
        self._failed: deque[bool] = deque(maxlen=WINDOW)

    def observe(self, attempt: Attempt) -> None:
        """Take an attempt into account."""
        if attempt.result is not Result.THROTTLED:
            self._failed.append(attempt.result in _FAILED and attempt.reason != NOT_STORED)

    @property
    def is_open(self) -> bool:
        """Whether nothing more should be sent for now."""
        return len(self._failed) == WINDOW and sum(self._failed) >= FAILING_SHARE * WINDOW

    def close(self) -> None:
        """Begin anew, with nothing against the portal."""
        self._failed.clear()
