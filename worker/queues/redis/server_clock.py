"""What time it is where a server is, learnt from its answers. Pure: whoever asks says when."""

from collections import deque
from dataclasses import dataclass

_SAMPLES = 32
_SHARE = 0.125
"""Weight of the newest round trip in the smoothed one."""

_DRIFT_SECONDS = 0.005
"""More than two clocks move apart while the samples are gathered."""


@dataclass(frozen=True, slots=True)
class _Sample:
    round_trip: float
    offset: float

    def agrees_with(self, other: "_Sample") -> bool:
        return abs(self.offset - other.offset) <= (self.round_trip + other.round_trip) / 2 + _DRIFT_SECONDS


class ServerClock:
    """The offset of another clock from ours, in seconds.

    The time in an answer was read between question and answer, at worst at either end. So the fastest of
    the latest round trips tells the offset best, and a slow answer, on whichever way, does not spoil it.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)
        self._best = _Sample(0.0, 0.0)
        self.round_trip = 0.0
        """Smoothed, in seconds."""

    def observe(self, sent: float, received: float, theirs: float) -> None:
        """An answer came.

        Args:
            sent: when it was asked for, by our clock.
            received: when it came, by our clock.
            theirs: when it was given, by the other clock.
        """
        new = _Sample(received - sent, theirs - (sent + received) / 2)
        if not self._samples:
            self.round_trip = new.round_trip
        elif not new.agrees_with(self._best):
            self._samples.clear()  # one of the clocks was set
        self._samples.append(new)
        self._best = min(self._samples, key=lambda sample: sample.round_trip)
        self.round_trip += _SHARE * (new.round_trip - self.round_trip)

    def here(self, theirs: float) -> float:
        """What our clock shows when the other shows ``theirs``."""
        return theirs - self._best.offset
