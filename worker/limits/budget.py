"""What retries may add to the load: a portal in trouble must not get more to do than one at ease. Pure."""

FIRST_TRY_SHARE = 0.2
"""Retries that each operation sent for the first time allows for."""

TIME_SHARE = 0.1
"""Share of the rate that is there for retries whatever else is sent."""

RESERVE = 10.0
"""Retries that may come at once."""

_ROUNDING = 1e-9


class RetryBudget:
    """A token bucket for retries.

    Each operation that is sent for the first time earns a share of a retry, and time earns some more, so that
    the last ones need not wait for others that never come. A spent budget delays retries and nothing else.

    Args:
        per_second: retries that time alone earns.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._most = max(RESERVE, per_second)
        self._tokens = self._most
        self._filled_at: float | None = None

    def change(self, per_second: float) -> None:
        """Go on under another rate; what is saved up or owed stays."""
        self._per_second = per_second
        self._most = max(RESERVE, per_second)
        self._tokens = min(self._tokens, self._most)

    def earn(self) -> None:
        """An operation is sent for the first time."""
        self._tokens = min(self._most, self._tokens + FIRST_TRY_SHARE)

    def spend(self, now: float) -> bool:
        """Take a retry if there is one; ``now`` is the time in seconds, always by the same clock."""
        earned = 0.0 if self._filled_at is None else (now - self._filled_at) * self._per_second
        self._tokens, self._filled_at = min(self._most, self._tokens + earned), now
        if self._tokens < 1.0 - _ROUNDING:
            return False
        self._tokens -= 1.0
        return True

    @property
    def seconds_left(self) -> float:
        """Seconds, counted from the last :meth:`spend`, until time alone has earned the next retry."""
        return max(0.0, 1.0 - self._tokens) / self._per_second
