"""Tell a portal that fails from pairs that fail. Pure: no clock, no sleep, no I/O."""

from collections import deque

from worker.models import Request, Result

WINDOW = 20
"""Requests looked at; a portal on a normal day fails a few of them."""

FAILING_SHARE = 0.5

_FAILED = {Result.TRANSIENT, Result.AMBIGUOUS}


class Breaker:
    """Opens when at least half of the last requests say that the portal did not do its work.

    Only requests about something new count: that a pair fails again says nothing that was not known. When for
    half a window all requests were repetitions, and at least half of the whole window failed, it cannot be
    told whether it is the portal that fails, or the pairs: the breaker opens, but is :attr:`doubtful`.

    A throttled request says nothing here: the limiter knows what to do about it. A permanent one is a portal
    at work.
    """

    def __init__(self) -> None:
        self._first: deque[bool] = deque(maxlen=WINDOW)
        self._all: deque[bool] = deque(maxlen=WINDOW)
        self._repetitions = 0

    def observe(self, request: Request) -> None:
        """Take a request into account."""
        if request.result is Result.THROTTLED:
            return
        failed = request.result in _FAILED
        self._all.append(failed)
        if request.is_first:
            self._repetitions = 0
            self._first.append(failed)
        else:
            self._repetitions += 1

    @property
    def is_open(self) -> bool:
        """Whether nothing more should be sent for now."""
        return _fails(self._first) or self.doubtful

    @property
    def doubtful(self) -> bool:
        """Open, but it may be the pairs that fail."""
        return not _fails(self._first) and 2 * self._repetitions >= WINDOW and _fails(self._all)

    def close(self) -> None:
        """Begin anew, with nothing against the portal."""
        self._first.clear()
        self._all.clear()
        self._repetitions = 0


def _fails(window: deque[bool]) -> bool:
    return len(window) == WINDOW and sum(window) >= FAILING_SHARE * WINDOW
