"""Tell a portal that fails from pairs that fail. Pure: no clock, no sleep, no I/O."""

from collections import deque

from worker.models import Request, Result

WINDOW = 20
"""Requests looked at; a portal on a normal day fails a few of them."""

FAILING_SHARE = 0.5

FEW, FEW_SECONDS = 3, 0.25
"""Failures with nothing that worked between them, and seconds in which they came, that are a reason to ask
the portal. Among many requests so many come by chance, but not in so long a time."""

QUESTIONS, ANOTHER_AFTER = 3, 60.0
"""Times that it may be asked in vain, and seconds after which once more: where little is sent and some pairs
fail, much of the rate would go into questions."""

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


class Silence:
    """Opens when nothing works, however little is sent: then it has to be asked whether it is the portal.

    The breaker wants a full window. A few pairs have used up their tries long before that.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._began = self._at = 0.0
        self._questions = float(QUESTIONS)

    def observe(self, request: Request, at: float) -> None:
        """Take a request into account that was over at a time."""
        if request.result is Result.THROTTLED:
            return
        self._questions = min(QUESTIONS, self._questions + max(0.0, at - self._at) / ANOTHER_AFTER)
        self._at = at
        if request.result not in _FAILED:
            self._failures = 0
            return
        if not self._failures:
            self._began = at
        self._failures += 1

    @property
    def is_open(self) -> bool:
        """Whether it should be asked."""
        lasted = self._at - self._began
        return self._failures >= FEW and lasted >= FEW_SECONDS and self._questions >= 1.0

    def it_is_the_pairs(self) -> None:
        """It was asked, and is at work."""
        self._failures = 0
        self._questions -= 1.0

    def begin_anew(self) -> None:
        """With nothing against the portal."""
        self._failures = 0


def _fails(window: deque[bool]) -> bool:
    return len(window) == WINDOW and sum(window) >= FAILING_SHARE * WINDOW
