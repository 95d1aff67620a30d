"""The rate that a portal puts up with: lower after a throttle answer, slowly higher in quiet times. Pure.

What a portal throttled at is remembered. The rate comes back to a little below that, stays there, and only
now and then is a little more tried.
"""

from collections import deque

CUT = 0.7
"""What is left of the rate after a throttle answer."""

RAISE = 1.1
"""Growth of the rate after each quiet time."""

QUIET = 10.0
"""Seconds at one rate, and without a throttle answer, that are a quiet time."""

QUIET_BELOW = 5.0
"""The same while the next rate is well below the one that the last throttle answer came at."""

BELOW = 0.95
"""Share of a rate that was throttled which is come back to."""

PATIENCE, LONGEST_PATIENCE = 60.0, 960.0
"""Seconds until what was throttled is tried again; doubled each time it is throttled again."""

UNSURE = 15.0
"""The same where it is what happened to be sent, far below the rate: that says little of what is too much."""

FLOOR = 0.5
"""Requests a second that are left at least; pauses do the rest."""

_USED = 0.9
"""Share of the rate that must have been used: what was not used proves nothing."""

_MOST_SENDS = 512
"""Requests, the last ones, by which it is reckoned how much was used."""

_NEARLY = 0.8
"""Share of the rate from which on it is the rate that was throttled, and not what happened to be sent."""

_FEW_SENDS, _SHORT = 5, 0.2
"""Fewer requests, or seconds, than that tell nothing of it."""

_ENOUGH_SENDS, _LATELY = 20, 1.0
"""So many requests, or seconds, tell most of it: what is more is too long ago."""

_ROUNDING = 1e-9

_AGAIN = 1.0
"""Seconds after which a rate that may rise is looked at again."""


class AdaptiveRate:
    """Requests a second, never above a ceiling.

    Args:
        ceiling: requests a second.
        start: what was learned before; None for the ceiling.
    """

    def __init__(self, ceiling: float, start: float | None = None) -> None:
        self.ceiling = ceiling
        self.value = ceiling
        self._sends: deque[float] = deque(maxlen=_MOST_SENDS)
        self._changed_at = self._look_at = float("-inf")
        self._quiet_since: float | None = None
        self._quiet: float | None = None
        self._too_much: float | None = None
        self._soon_up_to = 0.0
        self._patience = PATIENCE
        self._beyond = False
        self._held_since: float | None = None
        self.cuts_in_a_row = 0
        """Cuts since the last quiet time."""
        if start is not None:
            self.value = self._bounded(start)
            self._too_much = self.value / BELOW if self.value < ceiling else None

    def bound(self, ceiling: float) -> None:
        """Go on under another ceiling; a rate that was at the old one goes with it."""
        self.value = ceiling if self.value == self.ceiling else min(self.value, ceiling)
        self.ceiling = ceiling

    def sent(self, at: float) -> None:
        """A request leaves."""
        self._sends.append(at)

    def throttled(self, sent_at: float, at: float) -> bool:
        """The portal did not take a request; whether that lowers the rate.

        One that was sent before the last cut tells nothing new.
        """
        if sent_at < self._changed_at and self.cuts_in_a_row:
            return False
        used = self._used(at)
        is_tried = used >= _NEARLY * self.value
        tried = self.value if is_tried else used
        wanted = CUT * tried
        self._soon_up_to = BELOW * tried
        if self._quiet is not None:
            wanted = max(wanted, min(BELOW * tried, self._quiet))
        if self._beyond:
            self._patience = min(2 * max(self._patience, PATIENCE), LONGEST_PATIENCE)
        elif is_tried or self._too_much is None:
            self._too_much = tried
            self._patience = self._patience if is_tried else UNSURE
        self._beyond = False
        self._quiet = None
        self.cuts_in_a_row += 1
        self._set(wanted, at)
        self._sends.clear()
        return True

    def taken(self, sent_at: float, at: float) -> bool:
        """The portal took a request; whether it has been quiet for so long that the rate rises."""
        if sent_at < self._changed_at:
            return False
        if self._quiet_since is None:
            self._quiet_since = sent_at
        quiet = QUIET_BELOW if RAISE * self.value <= self._soon_up_to else QUIET
        if at - self._quiet_since < quiet:
            return False
        self.cuts_in_a_row = 0
        if self.value >= self.ceiling or at < self._look_at:
            return False
        self._look_at = at + _AGAIN
        if self._used(at) < _USED * self.value:
            return False
        self._quiet = self.value
        return self._raise(at)

    def forget(self) -> None:
        """It was not the rate that the portal throttled at."""
        self._too_much = self._quiet_since = None
        self.cuts_in_a_row = 0
        self._sends.clear()

    def _raise(self, at: float) -> bool:
        if self._beyond:
            # What was once too much is not any more; if the same holds of a little more, all is forgotten.
            self._too_much = self.value / BELOW if self._patience == PATIENCE else None
            self._beyond, self._patience = False, PATIENCE / 2
        wanted = RAISE * self.value
        if self._too_much is not None and wanted > BELOW * self._too_much:
            wanted = BELOW * self._too_much
            if wanted <= self.value * (1 + _ROUNDING):
                if self._held_since is None:
                    self._held_since = at
                if at - self._held_since < self._patience:
                    return False
                wanted, self._beyond = self._too_much, True
        self._set(wanted, at)
        return True

    def _set(self, wanted: float, at: float) -> None:
        self.value = self._bounded(wanted)
        self._changed_at = at
        self._held_since = self._quiet_since = None

    def _bounded(self, wanted: float) -> float:
        return max(min(wanted, self.ceiling), min(FLOOR, self.ceiling))

    def _used(self, at: float) -> float:
        """Requests a second that were sent lately; the rate itself while there are too few to tell."""
        recent = [sent for sent in self._sends if sent >= at - QUIET]
        last = [sent for sent in recent if sent >= recent[-1] - _LATELY]
        if len(last) < _ENOUGH_SENDS:
            last = recent[-_ENOUGH_SENDS:]
        if len(last) < _FEW_SENDS or last[-1] - last[0] < _SHORT:
            return self.value
        return (len(last) - 1) / (last[-1] - last[0])
